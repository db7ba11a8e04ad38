"""All errors that anymodal raises on purpose, with the HTTP status that each becomes.

    AnymodalError                   500  everything below
    ├── InputError                  422  a value that the caller passed (also a ValueError)
    ├── ModelError                  500  a model cannot be found, loaded or run
    │   ├── BundleError             500  the offline bundle: missing, corrupt, unreachable
    │   ├── MissingExtraError       500  packages of an extra are not installed
    │   ├── ModelUnavailableError   503  the server of a model is away, or too busy
    │   └── ModelTimeoutError       503  it broke off, or took too long
    ├── MediaError                  422  a file cannot be decoded
    │   ├── UnsupportedMediaError   415  its kind is not known
    │   ├── CorruptMediaError       422  it is not in the format that it claims
    │   ├── MediaLimitError         413  it is larger than a limit allows
    │   ├── RefusedLinkError        422  a link that is not followed (ingest.errors)
    │   ├── EmptiedFolderError      422  a folder that lost all its files (ingest.errors)
    │   ├── IgnoreFileError         422  patterns that cannot be read (ingest.errors)
    │   ├── LeftOutError            422  a kind that was not asked for (ingest.errors)
    │   ├── SecretFileError         422  keys or passwords (ingest.errors)
    │   └── SourceError             422  a server of files fails (ingest.errors)
    │       ├── GoneObjectError     422  it has no such file
    │       ├── ClosedSourceError   422  it refuses the credentials
    │       └── ListingError        422  a folder cannot be listed
    ├── DiskError                   507  a disk is full, read-only or closed to this user
    ├── DecoderProcessError         503  a process that decodes cannot start (ingest.errors)
    ├── KindError                   500  another package's kind of files is broken (ingest.errors)
    ├── StoreError                  500  the vector store cannot do its work (search.errors)
    │   ├── StoreUnavailableError   503  it does not answer
    │   ├── StoreGoneError          503  its files were removed while it was open
    │   ├── StoreBusyError          500  another process holds it, or a lock of it
    │   ├── StoreMissingError       500  there is none
    │   ├── IndexNotReadyError      503  an index is being read; searches go on without it
    │   ├── IndexRefusedError       500  its server makes no such index
    │   ├── ReadOnlyStoreError      403  it can only be searched (also a DiskError)
    │   ├── DamagedError            500  a file of a folder is damaged (…folder.database)
    │   │   ├── GivenUpError        500  a file of a folder is missing
    │   │   └── LostDatabaseError   500  the database is, so that a backup is needed
    │   ├── SpaceMismatchError      500  a different model filled it
    │   └── StoreMovedError         503  another of its spaces is searched by now
    ├── NotFoundError               404  what a query names is not stored (search.errors)
    ├── OutsideError                403  a key with a filter writes outside it (search.errors)
    ├── TimeLimitError              504  a search took longer than allowed (search.errors)
    ├── TooCostlyError              413  a request takes too much of the processor (search.errors)
    ├── CancelledError              499  nobody waits for the answer any more (search.errors)
    ├── OverloadedError             503  too much is under way (search.errors)
    ├── UnauthorizedError           401  no key, or one that is not known (search.api.errors)
    ├── ForbiddenError              403  the key lacks a scope (search.api.errors)
    ├── RateLimitError              429  too many requests with one key (search.api.errors)
    ├── HostHeaderError             400  a request that names several hosts (search.api.errors)
    ├── TooSlowError                408  a request that comes too slowly (search.api.errors)
    ├── TooLargeError               413  a body beyond the limit (search.api.errors)
    ├── HeadTooLargeError           431  a head beyond the limit (search.api.errors)
    ├── ContentTypeError            415  a body of the wrong type (search.api.errors)
    ├── UnreachableError            503  no server answers a client (search.client.errors)
    ├── ServerError                 500  a server's error, at its client (search.client.errors)
    │   ├── BadRequestError         500  the request is wrong
    │   ├── AccessError             500  no key, or one that lacks a scope
    │   ├── MissingError            404  no such asset or job (also a NotFoundError)
    │   └── BusyError               503  too much is under way
    ├── BrokerError                 503  Redis does not answer (workers.jobs.redis_link)
    ├── WatchError                  500  no more folders can be watched (workers.library.watch)
    ├── TooLongError                500  a shard outlasted its task (workers.jobs.shard_run)
    └── CrashedError                500  a file kept crashing its process (workers.jobs.shard_run)

Each message names the value, the place and the remedy. The command line exits with 2 for an
`InputError` and with 1 for the others.
"""

from __future__ import annotations

from collections.abc import Sequence


class AnymodalError(Exception):
    """Base of all errors.

    Args:
        problem: what is wrong, with the value and the place.
        remedy: what the reader can do about it; printed after the problem.
    """

    retryable = False
    """Whether the same call may succeed later, unchanged (an unreachable store, a timeout)."""
    failing = ""
    """What does not answer, for readers who may not see where it is."""

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem} {self.remedy}".rstrip()


class InputError(AnymodalError, ValueError):
    """A value that the caller passed is not usable.

    Args:
        argument: the name of the argument, such as ``"image[2]"``.
        got: what came, in words.
        wanted: what would have been right.
    """

    def __init__(self, argument: str, *, got: str, wanted: str) -> None:
        super().__init__(f"{argument}: got {got}.", remedy=f"Expected {wanted}.")
        self.argument = argument
        self.got = got
        self.wanted = wanted

    def __reduce__(self) -> tuple[object, ...]:
        return _input_error, (self.argument, self.got, self.wanted)


def _input_error(argument: str, got: str, wanted: str) -> InputError:
    return InputError(argument, got=got, wanted=wanted)


class ModelError(AnymodalError):
    """A model cannot be found, loaded or run."""


class ModelUnavailableError(ModelError):
    """The server of a model does not answer, or has too much to do; whatever it is asked."""

    retryable = True
    failing = "server of a model"


class ModelTimeoutError(ModelError):
    """The server of a model broke off, or took too long; what it was asked may be the cause."""

    retryable = True
    failing = "server of a model"


class BundleError(ModelError):
    """The offline bundle is missing, corrupt or cannot be fetched."""


class MissingExtraError(ModelError):
    """Something needs packages that are not installed with anymodal itself.

    Args:
        what: the feature that needs them.
        modules: those that are missing.
        command: the command that installs them.
    """

    def __init__(self, what: str, modules: Sequence[str], command: str) -> None:
        are = "is" if len(modules) == 1 else "are"
        super().__init__(
            f"{what} needs {' and '.join(modules)}, which {are} not installed.",
            remedy=f"Run: {command}",
        )
        self.what, self.modules, self.command = what, tuple(modules), command

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.what, self.modules, self.command)


class DiskError(AnymodalError):
    """A disk is full, read-only or closed to this user; nothing more can be stored there."""


class MediaError(AnymodalError):
    """A file cannot be decoded: corrupt, unsupported, too big, empty."""


class UnsupportedMediaError(MediaError):
    """The content is of a kind that no decoder takes."""


class CorruptMediaError(MediaError):
    """The content is not in the format that it claims."""


class MediaLimitError(MediaError):
    """The content is larger than a limit allows; the limit is named."""

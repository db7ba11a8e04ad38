"""The error tree of anymodal.

    AnymodalError                 everything that anymodal raises on purpose
    ├── InputError                a value that the caller passed (also a ValueError)
    ├── ModelError                a model cannot be found, loaded or run
    │   ├── BundleError           the offline bundle: missing, corrupt, unreachable
    │   └── MissingExtraError     it needs packages of an extra
    ├── MediaError                a file cannot be decoded
    │   ├── UnsupportedMediaError its kind is not known
    │   ├── CorruptMediaError     it claims a format and does not hold it
    │   ├── MediaLimitError       it is larger than a limit allows
    │   └── RefusedLinkError      a link that is not followed  (ingest.errors)
    ├── DiskError                 a disk is full, read-only or closed to this user
    ├── DecoderProcessError       a process that decodes cannot start    (ingest.errors)
    ├── StoreError                the vector store cannot do its work    (search.errors)
    ├── NotFoundError             what a query names is not stored       (search.errors)
    ├── TimeLimitError            a search took longer than allowed      (search.errors)
    └── CancelledError            nobody waits for the answer any more   (search.errors)

Each message names the value, the place and the remedy.
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
    """Whether the same call may succeed later, unchanged (a store that is away, a timeout)."""

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
        super().__init__(f"{argument}: got {got}.", remedy=f"Wanted {wanted}.")
        self.argument = argument
        self.got = got
        self.wanted = wanted

    def __reduce__(self) -> tuple[object, ...]:
        return _input_error, (self.argument, self.got, self.wanted)


def _input_error(argument: str, got: str, wanted: str) -> InputError:
    return InputError(argument, got=got, wanted=wanted)


class ModelError(AnymodalError):
    """A model cannot be found, loaded or run."""


class BundleError(ModelError):
    """The offline bundle is missing, corrupt or cannot be fetched."""


class MissingExtraError(ModelError):
    """Something needs packages that are not installed with anymodal itself.

    Args:
        what: needs them.
        modules: those that are missing.
        command: installs them.
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
    """A disk is full, read-only, or may not be written to; nothing more can be stored there."""


class MediaError(AnymodalError):
    """A file cannot be decoded: corrupt, unsupported, too big, empty."""


class UnsupportedMediaError(MediaError):
    """The content is of a kind that no decoder takes."""


class CorruptMediaError(MediaError):
    """The content claims a format and does not hold it."""


class MediaLimitError(MediaError):
    """The content is larger than a limit allows; the limit is named."""

"""What the API needs from the rest of the system; `workers.serving.composition` provides it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from encoder.types import Item, Modality, Role
from search.deadline import Deadline
from search.query.query import Query
from search.types import IngestRequest, Labels, SearchResult


@dataclass(frozen=True)
class KindOffer:
    """A kind of files, as `/v1/info` describes it: see `search.api.schemas.KindOut`."""

    name: str
    label: str
    plural: str
    modality: str
    formats: Sequence[str]
    media_types: Sequence[str]
    suffixes: Sequence[str]
    shows: bool
    queries: bool
    icon: str


class RemoteFile(Protocol):
    """A file on another server, with the content of an asset."""

    @property
    def size_bytes(self) -> int:
        """Its size."""

    def pieces(self, start: int, end: int) -> Iterator[bytes]:
        """The bytes from ``start`` to before ``end``, read as they are asked for."""


class Decoder(Protocol):
    """Decodes untrusted files."""

    def decode(self, modality: Modality, data: bytes, label: str) -> Item:
        """A picture, sound or film as an item to encode; ``label`` names it in errors.

        Raises:
            MediaError: it is not of this modality, corrupt, or over a limit.
        """

    def decode_file(self, kind: str, data: bytes, name: str, label: str) -> Item:
        """A whole file of any kind as an item to encode.

        Args:
            kind: the kind of file; empty to detect it.
            data: its bytes.
            name: the client's name for it.
            label: its name in errors.

        Raises:
            InputError: there is no such kind; the error names those that exist.
            MediaError: it is not of this kind, corrupt, or over a limit.
        """

    def decode_url(self, kind: str, url: str, label: str) -> Item:
        """As `decode_file`, for a file to be fetched.

        Raises:
            InputError: there is no such kind, or the URL is not http(s).
            MediaError: it may not or cannot be fetched, or as in `decode_file`.
        """

    def picture(self, path: Path, media_type: str, at_s: float, page: int, size: int) -> bytes:
        """A small WebP preview of a file: of a film, at a given time; of a document, one page.

        Args:
            path: the file.
            media_type: as it was ingested.
            at_s: seconds from the film's start.
            page: of a document, from 1.
            size: the longer side, in pixels.

        Raises:
            UnsupportedMediaError: it has nothing to show.
            MediaError: it cannot be decoded.
        """

    def unpacked(self, location: str, asset_id: str) -> AbstractContextManager[Path]:
        """A file in an archive, in a temporary folder for the length of the block.

        Args:
            location: as stored; the decoder knows where the archive's path ends.
            asset_id: the hash that its content has to have.

        Raises:
            MediaError: it is gone or has changed.
        """

    def remote(self, location: str, metadata: Labels) -> RemoteFile | None:
        """The file at a location of an object store; None if it is not what was stored.

        Args:
            location: a location of the asset.
            metadata: the asset's.
        """

    def copied(self, location: str, metadata: Labels) -> AbstractContextManager[Path]:
        """A copy of the file at a location, in a temporary folder for the length of the block.

        Raises:
            MediaError: it is gone, has changed or is too large.
        """

    def charset(self, path: Path, media_type: str) -> str:
        """The Python codec that ingest used to decode a text file.

        Raises:
            MediaError: it cannot be read.
        """


class Searches(Protocol):
    """Answers queries, in one process or in several."""

    @property
    def n_more(self) -> int:
        """The most processes beside this one."""

    def search(self, query: Query, deadline: Deadline) -> SearchResult:
        """See `search.engine.SearchEngine.search`."""

    def close(self) -> None:
        """End the processes and the threads of the engine."""


class TokenReader(Protocol):
    """How the model reads texts, and which shorter embeddings it has."""

    @property
    def cuts(self) -> Sequence[int]:
        """Dimensions that an embedding may be cut to (Matryoshka); mostly none."""

    def window_lengths(self, text: str, role: Role) -> list[int]:
        """The tokens of each window in which a text is encoded, with special tokens and prompt."""

    def text_of_tokens(self, ids: Sequence[int]) -> str:
        """The text that token ids of the model stand for.

        Raises:
            InputError: they are not what its tokenizer makes of a text.
        """


class FailedFile(Protocol):
    """A file that was set aside."""

    @property
    def uri(self) -> str:
        """The path or URL."""

    @property
    def error(self) -> str:
        """The name of the error's class."""

    @property
    def reason(self) -> str:
        """What is wrong, and what to do."""


@dataclass(frozen=True)
class Job:
    """An ingest at one moment. Times are seconds since 1970; with a broker, by its clock."""

    job_id: str
    state: str
    """``planning``, ``running``, ``done``, ``cancelling`` (shards under way are finished and
    counted), ``cancelled`` or ``failed`` (nobody can find the rest of its files)."""
    now: float
    created: float
    finished: float | None = None
    request: IngestRequest = field(default_factory=lambda: IngestRequest(()))
    n_files: int = 0
    ingested: int = 0
    unchanged: int = 0
    left_out: int = 0
    """Files of kinds that were not asked for."""
    failed: int = 0
    n_bytes: int = 0
    segments: Mapping[str, int] = field(default_factory=dict)
    stage_s: Mapping[str, float] = field(default_factory=dict)
    gone: Mapping[str, int] = field(default_factory=dict)
    """See `workers.pipeline.reports.IngestReport.gone`."""
    limits: Mapping[str, int] = field(default_factory=dict)
    """What the model cannot find, and in how many files."""
    tokens: Mapping[str, int] = field(default_factory=dict)
    """Of texts: ``encoded``, and ``kept`` to the last layer."""
    reason: str = ""
    """Why it failed."""
    waits_for: str = ""
    """Why the last shard was given back: a full disk."""
    open_shards: int = 0
    shards_at_work: int = 0
    planner: str = ""
    """Who finds the files; empty before one has begun."""
    planner_until: float = 0.0
    """Until when the planner is assumed to be alive."""
    declined: Mapping[str, str] = field(default_factory=dict)
    """The workers that cannot plan it, and why."""

    @property
    def n_done(self) -> int:
        """Files that were looked at."""
        return self.ingested + self.unchanged + self.left_out + self.failed

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self.state in ("done", "cancelled", "failed")

    @property
    def planner_lost(self) -> bool:
        """Whether the process that finds the files fell silent before it had finished."""
        return self.state == "planning" and self.now >= self.planner_until

    @property
    def seconds(self) -> float:
        """From the beginning to the end, or to now."""
        return max((self.finished or self.now) - self.created, 1e-3)

    @property
    def left_s(self) -> float | None:
        """Seconds left at the rate so far; None unless all files are found and some are done."""
        if self.state != "running" or not self.n_done:
            return None
        return self.seconds / self.n_done * max(self.n_files - self.n_done, 0)


class Jobs(Protocol):
    """Makes files searchable in the background. Methods may be called from any thread."""

    def submit(self, request: IngestRequest) -> str:
        """Start ingesting; return the job's id.

        Raises:
            InputError: there is no such kind.
        """

    def status(self, job_id: str) -> Job:
        """The state of a job.

        Raises:
            NotFoundError: there is no such job.
        """

    def failures(self, job_id: str) -> Iterable[FailedFile]:
        """The files of a job that were set aside, streamed."""

    def recent(self) -> Sequence[Job]:
        """The jobs that are known, newest first."""

    def cancel(self, job_id: str) -> bool:
        """Drop what has not begun; False if the job had ended. Raises NotFoundError."""

    def ping(self) -> None:
        """Return if jobs can be accepted; raise `AnymodalError` if not."""

    def close(self) -> None:
        """Begin nothing more in this process."""

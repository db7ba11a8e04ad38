"""What the API needs from the rest of the system; `workers.serving.composition` provides it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from encoder.types import Item, Modality, Role


class Decoder(Protocol):
    """Decodes untrusted files."""

    def decode(self, modality: Modality, data: bytes, label: str) -> Item:
        """A picture, sound or film as an item to encode; ``label`` names it in errors.

        Raises:
            MediaError: it is not of this modality, corrupt, or over a limit.
        """
        ...

    def picture(self, path: Path, media_type: str, at_s: float, page: int, size: int) -> bytes:
        """A small WebP of what a file looks like; of a film, at a time, of a document, a page.

        Args:
            path: the file.
            media_type: as it was ingested.
            at_s: seconds from the film's start.
            page: of a document, from 1.
            size: the longer side, in pixels.

        Raises:
            UnsupportedMediaError: it shows nothing.
            MediaError: it cannot be decoded.
        """
        ...

    def charset(self, path: Path, media_type: str) -> str:
        """The Python codec that ingest used to decode a text file.

        Raises:
            MediaError: it cannot be read.
        """
        ...


class TokenReader(Protocol):
    """How the model reads texts, and which shorter embeddings it has."""

    @property
    def cuts(self) -> Sequence[int]:
        """Dimensions that an embedding may be cut to (Matryoshka); mostly none."""
        ...

    def window_lengths(self, text: str, role: Role) -> list[int]:
        """The tokens of each window in which a text is encoded, marks and prompt included."""
        ...

    def text_of_tokens(self, ids: Sequence[int]) -> str:
        """The text that token ids of the model stand for.

        Raises:
            InputError: they are not what its tokenizer makes of a text.
        """
        ...


@dataclass(frozen=True)
class Refused:
    """A file that was set aside."""

    name: str
    error: str
    reason: str


@dataclass(frozen=True)
class JobStatus:
    """How an ingest stands.

    ``state`` is ``planning``, ``running``, ``done``, ``cancelling`` (what is under way ends first),
    ``cancelled`` or ``failed`` (nobody can find the rest of its files).
    """

    job_id: str
    state: str
    n_files: int
    ingested: int
    unchanged: int
    failed: int
    seconds: float
    left_s: float | None = None
    segments: Mapping[str, int] = field(default_factory=dict)
    failures: Sequence[Refused] = ()
    asset_ids: Sequence[str] = ()

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in ("done", "cancelled", "failed")


class Jobs(Protocol):
    """Makes files searchable, some time after it was asked to."""

    def submit(self, paths: Sequence[Path]) -> str:
        """Begin; the job's id."""
        ...

    def status(self, job_id: str) -> JobStatus:
        """How a job stands.

        Raises:
            NotFoundError: there is no such job.
        """
        ...

    def recent(self) -> Sequence[JobStatus]:
        """The last jobs, newest first, without their failures."""
        ...

    def cancel(self, job_id: str) -> bool:
        """Drop what is not begun; False if the job had ended. Raises NotFoundError."""
        ...

    def ping(self) -> None:
        """Return if jobs can be taken; raises `AnymodalError` if not."""
        ...

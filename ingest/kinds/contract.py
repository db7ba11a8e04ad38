"""The contract of a kind of file, for our own kinds and for those of other packages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias

from encoder.errors import UnsupportedMediaError
from encoder.types import TEXT, Modality
from ingest.config import IngestConfig
from ingest.kinds.head import Head, Match
from ingest.kinds.windows import joined_text
from ingest.types import Asset, Fact, Segment

Cost: TypeAlias = Literal["text", "image", "audio", "video"]
"""Which queue a file waits in: that of texts, pictures, sounds or films, by the time it takes."""


@dataclass(frozen=True)
class Place:
    """Where in a file to look: seconds if it plays, a page (from 1) if it has pages."""

    at_s: float = 0.0
    page: int = 1


class Kind(ABC):
    """A kind of file. All methods but `sniff`, `whole` and `load` run in a decoder process.

    They read the file's content only, raise `encoder.errors.MediaError` where it cannot be read,
    and hold little of it in memory.
    """

    name: ClassVar[str]
    """Its name in requests and messages, such as ``pdf``: spelt like a `Modality`."""

    label: ClassVar[str] = ""
    """What people call one such file, such as ``Point cloud``; by default its first format."""

    plural: ClassVar[str] = ""
    """What they call several; by default the label with an s."""

    icon: ClassVar[str] = "M12 3.5 19.5 8v8L12 20.5 4.5 16V8z"
    """Its icon in the page: the ``d`` of an SVG path, drawn as lines in a square of 24."""

    modality: ClassVar[Modality]
    """What a file of this kind counts as."""

    formats: ClassVar[tuple[str, ...]]
    """What people call the formats that it reads, for messages."""

    media_types: ClassVar[Collection[str]]
    """All that `sniff` can return."""

    suffixes: ClassVar[tuple[str, ...]] = ()
    """Usual suffixes, with their dot, in lower case.

    They choose the queue, and name a query that came without a name; `sniff` decides what a file
    is.
    """

    cost: ClassVar[Cost] = "text"

    max_bytes: ClassVar[str] = "max_text_bytes"
    """The setting of `IngestConfig` that limits a file's size."""

    shows: ClassVar[bool] = False
    """Whether `preview` shows something."""

    holds_files: ClassVar[bool] = False
    """Whether `members` unpacks files, as from an archive or a mail."""

    made_by: str = ""
    """The package that brings it, with its version; set when it is loaded, empty for ours."""

    @abstractmethod
    def sniff(self, head: Head) -> Match | None:
        """What the file is, by its first bytes; None if it is of another kind."""

    def accepts(self, path: Path, media_type: str) -> bool:  # noqa: ARG002
        """Whether the header agrees; else the next kind that matches is tried."""
        return True

    def describe(self, path: Path, media_type: str, config: IngestConfig) -> Mapping[str, Fact]:  # noqa: ARG002
        """Check the header against the limits; return metadata such as title, width, duration_s.

        By default, the title is the file's stem.
        """
        return {"title": path.stem}

    @abstractmethod
    def segments(self, asset: Asset, path: Path, config: IngestConfig) -> Iterator[Segment]:
        """The file as a stream of segments."""

    def members(self, asset: Asset, path: Path, config: IngestConfig) -> Iterator[Segment]:  # noqa: ARG002
        """The files that it holds, in pieces; see `ingest.kinds.archive.members_of`."""
        return iter(())

    def preview(self, asset: Asset, path: Path, place: Place, config: IngestConfig) -> Segment:  # noqa: ARG002
        """A picture of a place: a segment whose content is uint8 [height, width, 3].

        Raises:
            MediaError: it cannot be decoded, or shows nothing.
        """
        raise UnsupportedMediaError(
            f"{asset.uri} is {self.name}, which has no picture.",
            remedy="Ask for a picture of an image, a video or a document with pages.",
        )

    def whole(self, segments: Sequence[Segment], max_frames: int = 16) -> Any:  # noqa: ARG002
        """The file as one item of its modality, to search with; ``max_frames`` is for films.

        By default its text, else the content of its first segment.
        """
        return joined_text(segments) if self.modality == TEXT else segments[0].content

    def load(self) -> None:  # noqa: B027 (most need none)
        """Import the libraries it reads with, before a decoder process limits itself."""

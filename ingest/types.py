"""Assets and segments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from encoder.types import Modality

Fact: TypeAlias = str | int | float | Sequence[str]
"""A value of metadata: a title is text, a duration a number, tags are texts."""


@dataclass(frozen=True)
class Asset:
    """One file's content.

    ``asset_id`` is the hash of the content, so that a moved or copied file is the same asset.
    ``modality`` is that of the whole file (a film is ``video``). ``path`` is where to
    read the content during ingest, if not ``uri``: a fetched file.

    ``metadata`` has a ``title`` and ``modified``, when the file was last changed (seconds since
    1970); pictures and films have ``width`` and ``height``, sounds and films ``duration_s``, if
    their header has it.
    """

    asset_id: str
    uri: str
    modality: Modality
    media_type: str
    size_bytes: int
    metadata: Mapping[str, Fact] = field(default_factory=dict)
    path: str = ""

    @property
    def duration_s(self) -> float:
        """Duration in seconds; 0 if the header has none."""
        duration = self.metadata.get("duration_s", 0)
        return float(duration) if isinstance(duration, int | float) else 0.0


@dataclass(frozen=True, eq=False)
class Segment:
    """A piece of an asset that becomes one embedding.

    ``index`` counts within the asset and modality. ``content`` is what `encoder.types.Item`
    holds for the modality. Times are seconds, ``char_*`` are offsets into the decoded text.
    Transcripts have a ``confidence`` (0 to 1) and a ``language``. Text read in a picture has
    ``boxes``: JSON with eight numbers a line, x and y of each corner from the upper left on, as
    fractions of the picture's width and height. ``place`` is where in a document it is, as
    JSON: ``{"page": 3}``, ``{"slide": 2}``, ``{"sheet": "May"}``, ``{"heading": "Ferries"}``.
    """

    asset_id: str
    modality: Modality
    index: int
    content: Any
    start_s: float | None = None
    end_s: float | None = None
    char_start: int | None = None
    char_end: int | None = None
    snippet: str = ""
    confidence: float = 1.0
    language: str = ""
    boxes: str = ""
    place: str = ""


@dataclass(frozen=True)
class Failure:
    """A file that was set aside, with the reason."""

    uri: str
    error: str
    reason: str

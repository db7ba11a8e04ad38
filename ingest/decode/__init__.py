"""Decoders: from an asset to its segments. A new modality is a module and one line here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from encoder.types import AUDIO, IMAGE, TEXT, VIDEO, Modality
from ingest.config import IngestConfig
from ingest.decode import audio, image, text, video
from ingest.types import Asset, Fact, Segment


class Decoder(Protocol):
    """What a decoder offers; a module with these two functions is one.

    Both raise `encoder.errors.MediaError` and look at the file's content only.
    """

    def describe(self, path: Path, media_type: str, config: IngestConfig) -> Mapping[str, Fact]:
        """Check the header against the limits; return metadata such as title, width, duration_s."""
        ...

    def segments(self, asset: Asset, path: Path, config: IngestConfig) -> Iterator[Segment]:
        """Decode the file as a stream of segments, with bounded memory."""
        ...


DECODERS: dict[Modality, Decoder] = {
    TEXT: text,
    IMAGE: image,
    AUDIO: audio,
    VIDEO: video,
}

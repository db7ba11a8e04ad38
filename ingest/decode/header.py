"""What a file's header says, held against the limits before anything is decoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from encoder.media.container import has_moving_pictures, probe
from encoder.types import AUDIO, IMAGE, TEXT, VIDEO, Modality
from ingest.config import IngestConfig
from ingest.decode import DECODERS
from ingest.limits import check
from ingest.sniff import Kind
from ingest.types import Fact

_BYTE_LIMITS = {TEXT: "max_text_bytes", IMAGE: "max_image_bytes"}


@dataclass(frozen=True)
class Header:
    """Of what kind a file is for sure, and its metadata (title, width, duration_s …)."""

    modality: Modality
    media_type: str
    metadata: Mapping[str, Fact]


def read_header(path: Path, kind: Kind, size_bytes: int, config: IngestConfig) -> Header:
    """Read a file's header.

    Args:
        path: an absolute path.
        kind: what its first bytes tell.
        size_bytes: how large it is.

    Raises:
        MediaError: the header cannot be read, or describes more than a limit allows.
    """
    # Before the header too, since a PDF's is at its end.
    check(
        str(path), _BYTE_LIMITS.get(kind.modality or AUDIO, "max_media_bytes"), size_bytes, config
    )
    modality, media_type = _settle(kind, path)
    metadata = DECODERS[modality].describe(path, media_type, config)
    return Header(modality, media_type, metadata)


def _settle(kind: Kind, path: Path) -> tuple[Modality, str]:
    """Where the first bytes leave open whether there are moving pictures, ask the header."""
    if kind.modality is not None:
        return kind.modality, kind.media_type
    if kind.media_type.startswith("image/"):
        modality = VIDEO if has_moving_pictures(path) else IMAGE
    else:
        modality = VIDEO if probe(path).has_video else AUDIO
    return modality, f"{modality}/{kind.media_type.partition('/')[2]}"

"""From a path to an asset: what it is, and the hash of its content."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from encoder.errors import MediaError
from encoder.media.container import probe
from encoder.media.source import opened
from encoder.types import AUDIO, IMAGE, TEXT, VIDEO, Modality
from ingest.config import IngestConfig
from ingest.decode import DECODERS
from ingest.limits import check
from ingest.sniff import HEAD_BYTES, Kind, sniff
from ingest.types import Asset

_ID_BYTES = 16  # as unlikely to collide as a UUID, half as long as the whole hash
_CHUNK_BYTES = 2**20
_BYTE_LIMITS = {TEXT: "max_text_bytes", IMAGE: "max_image_bytes"}


def identify(path: Path, config: IngestConfig) -> Asset:
    """Look at a file's first bytes and header, check its limits and hash its content.

    Links are followed. ``uri`` is the absolute path.

    Raises:
        MediaError: missing, unreadable, empty, of an unknown kind, or over a limit.
    """
    path = _resolved(path)
    with opened(path) as file:
        size_bytes = file.seek(0, 2)
        file.seek(0)
        kind = _settle(sniff(file.read(HEAD_BYTES), str(path)), path)
        check(str(path), _BYTE_LIMITS.get(kind.modality, "max_media_bytes"), size_bytes, config)
        metadata = DECODERS[kind.modality].describe(path, kind.media_type, config)
        asset_id = _content_hash(file)
    return Asset(asset_id, str(path), kind.modality, kind.media_type, size_bytes, metadata)


@dataclass(frozen=True)
class _Settled:
    media_type: str
    modality: Modality


def _settle(kind: Kind, path: Path) -> _Settled:
    """Where the first bytes leave open whether there are moving pictures, ask the header."""
    if kind.modality is not None:
        return _Settled(kind.media_type, kind.modality)
    modality = VIDEO if probe(path).has_video else AUDIO
    return _Settled(f"{modality}/{kind.media_type.partition('/')[2]}", modality)


def _resolved(path: Path) -> Path:
    try:
        resolved = path.expanduser().resolve(strict=True)
        str(resolved).encode()
    except UnicodeEncodeError as error:
        raise MediaError(
            f"{path!r}: the name is not valid UTF-8.", remedy="Rename the file."
        ) from error
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: links in a circle
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaError(
            f"{path} cannot be read: {reason}.",
            remedy="Check that it exists and that you may read it.",
        ) from error
    return resolved


def _content_hash(file: BinaryIO) -> str:
    """BLAKE3 of the whole file, 32 hex digits."""
    from blake3 import blake3

    file.seek(0)
    hasher = blake3()
    while chunk := file.read(_CHUNK_BYTES):
        hasher.update(chunk)
    return hasher.hexdigest(length=_ID_BYTES)

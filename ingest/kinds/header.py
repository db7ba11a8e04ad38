"""Read a file's header and check it against the limits, before decoding anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from encoder.types import Modality
from ingest.config import IngestConfig
from ingest.decode.charset import read_bytes
from ingest.decode.zip_type import ZIP, zip_type
from ingest.kinds.head import HEAD_BYTES, Head
from ingest.kinds.office import Zipped
from ingest.kinds.registry import Candidate, unsupported
from ingest.limits import check
from ingest.types import Fact


@dataclass(frozen=True)
class Header:
    """The confirmed kind of a file, and its metadata (title, width, duration_s …)."""

    modality: Modality
    media_type: str
    metadata: Mapping[str, Fact]


def read_header(
    path: Path, candidates: Sequence[Candidate], size_bytes: int, config: IngestConfig
) -> Header:
    """Read a file's header.

    Args:
        path: an absolute path.
        candidates: the kinds that it may be, best first, at least one.
        size_bytes: how large it is.

    Raises:
        MediaError: the header cannot be read, or describes more than a limit allows.
    """
    head = Head(read_bytes(path, HEAD_BYTES), str(path))
    zipped = zip_type(path) if head.data.startswith(ZIP) else ""
    for kind, media_type, _ in candidates:
        if isinstance(kind, Zipped):
            if zipped not in kind.media_types:
                continue
            media_type = zipped
        # Checked before the header too, since a PDF's is at its end.
        check(str(path), kind.max_bytes, size_bytes, config)
        if kind.accepts(path, media_type):
            return Header(kind.modality, media_type, kind.describe(path, media_type, config))
    raise unsupported(head, zipped)

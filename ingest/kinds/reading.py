"""Read a file with its kind, in this process: its header, its segments, what it looks like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from encoder.types import Modality
from ingest.config import IngestConfig
from ingest.decode.charset import read_bytes
from ingest.decode.time_limit import Clock, timed
from ingest.decode.zip_type import ZIP, zip_type
from ingest.kinds.archive import ARCHIVE
from ingest.kinds.contract import Place
from ingest.kinds.head import HEAD_BYTES, Head
from ingest.kinds.office import Zipped
from ingest.kinds.registry import Candidate, kind_of, unsupported
from ingest.limits import check
from ingest.types import Asset, Fact, Segment


@dataclass(frozen=True)
class Header:
    """The confirmed kind of a file, and its metadata (title, width, duration_s …)."""

    modality: Modality
    media_type: str
    metadata: Mapping[str, Fact]


def read_header(
    path: Path, candidates: Sequence[Candidate], size_bytes: int, config: IngestConfig
) -> Header:
    """Read a file's header and check it against the limits, before decoding anything.

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


def decode(asset: Asset, config: IngestConfig) -> Iterator[Segment]:
    """The segments of a file, or the files in an archive, within ``max_decode_s``.

    Raises:
        MediaError: while iterating.
    """
    kind = kind_of(asset.media_type)
    read = kind.members if asset.modality == ARCHIVE else kind.segments
    clock = Clock(asset.uri, config, asset.duration_s)
    return timed(read(asset, Path(asset.path or asset.uri), config), clock)


def preview(asset: Asset, place: Place, config: IngestConfig) -> Segment:
    """What a place in a file looks like, as its kind shows it.

    Raises:
        MediaError: it cannot be decoded, or shows nothing.
    """
    kind = kind_of(asset.media_type)
    return kind.preview(asset, Path(asset.path or asset.uri), place, config)

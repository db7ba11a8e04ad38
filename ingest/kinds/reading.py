"""Read a file with its kind, in this process: its header, its segments, what it looks like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from encoder.errors import MediaLimitError
from encoder.types import Modality
from ingest.config import IngestConfig, check
from ingest.kinds.archive import ARCHIVE
from ingest.kinds.charset import read_bytes
from ingest.kinds.contract import Place
from ingest.kinds.head import HEAD_BYTES, Head
from ingest.kinds.office import Zipped
from ingest.kinds.registry import Candidate, kind_of, unsupported
from ingest.kinds.zip_type import ZIP, zip_type
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
        if isinstance(kind, Zipped) and head.data.startswith(ZIP):
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


class Clock:
    """Counts the seconds spent on one file: at most ``max_decode_s`` more than its duration.

    Args:
        uri: which file, for messages.
        config: holds the limit.
        plays_s: its duration according to the header; 0 if unknown.
    """

    def __init__(self, uri: str, config: IngestConfig, plays_s: float = 0.0) -> None:
        self._uri = uri
        self._config = config
        self._plays_s = plays_s
        self._spent_s = 0.0

    @property
    def left_s(self) -> float:
        """The seconds left; negative once the time is up."""
        return self._config.max_decode_s + self._plays_s - self._spent_s

    def spend(self, seconds: float) -> None:
        """Count seconds.

        Raises:
            MediaLimitError: the time is up.
        """
        self._spent_s += seconds
        if self.left_s < 0:
            raise MediaLimitError(
                f"{self._uri} was not decoded in {self._spent_s:,.1f} s; max_decode_s is "
                f"{self._config.max_decode_s:g} s, and it plays for {self._plays_s:,.0f} s.",
                remedy="Raise IngestConfig.max_decode_s or ANYMODAL_INGEST__MAX_DECODE_S.",
            )

    def has_played(self, seconds: float) -> None:
        """Extend the limit to the decoded duration, since headers may lack one."""
        self._plays_s = max(self._plays_s, min(seconds, self._config.max_duration_s))


def timed(segments: Iterator[Segment], clock: Clock) -> Iterator[Segment]:
    """The same segments; the time to make each is counted."""
    while True:
        started = perf_counter()
        segment = next(segments, None)
        if segment is None:
            return
        clock.has_played(segment.end_s or 0.0)
        clock.spend(perf_counter() - started)
        yield segment

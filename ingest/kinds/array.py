"""NumPy arrays: found by their name, shape and fields, since numbers are not prose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from encoder.errors import CorruptMediaError
from encoder.media.source import opened
from encoder.types import TEXT
from ingest.config import IngestConfig
from ingest.kinds.contract import Kind
from ingest.kinds.head import Head, Match
from ingest.kinds.windows import Section, text_segments
from ingest.types import Asset, Fact, Segment

_MARK = b"\x93NUMPY"
_MOST_HEADER_BYTES = 1_000_000


class Array(Kind):
    """.npy: its header says what is in it, nothing is unpickled. An .npz is an archive of them."""

    name = "array"
    label = "Array"
    modality = TEXT
    formats = ("NumPy (.npy)",)
    media_types = frozenset({"application/x-npy"})
    suffixes = (".npy",)
    max_bytes: ClassVar[str] = "max_media_bytes"

    def sniff(self, head: Head) -> Match | None:
        """By its magic number. Packages that know what the numbers are come first."""
        return Match("application/x-npy", 0.6) if head.data.startswith(_MARK) else None

    def describe(self, path: Path, media_type: str, config: IngestConfig) -> Mapping[str, Fact]:  # noqa: ARG002
        _header(path)
        return {"title": path.stem}

    def segments(self, asset: Asset, path: Path, config: IngestConfig) -> Iterator[Segment]:
        section = Section(f"{asset.metadata['title']}: {_header(path)}")
        yield from text_segments(asset, path, [section], config)


def _header(path: Path) -> str:
    """Such as ``480 × 640 numbers (float32)``, with the names of its columns if they have any."""
    from numpy.lib import format as npy

    with opened(path) as file:
        try:
            version = npy.read_magic(file)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, _, dtype = read(file, _MOST_HEADER_BYTES)
        except Exception as error:  # its header is a Python literal, which fails in many ways
            raise CorruptMediaError(
                f"{path} is a damaged NumPy array ({error}).", remedy="Save it again."
            ) from error
    size = " × ".join(f"{side:,}" for side in shape) or "1"
    columns = f"\n{', '.join(dtype.names)}" if dtype.names else ""
    return f"{size} {'objects' if dtype.hasobject else 'numbers'} ({dtype.name}){columns}"

"""Archives: the files in them are assets of their own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from encoder.errors import UnsupportedMediaError
from encoder.media.source import decoding, opened
from encoder.types import Modality
from ingest.config import IngestConfig
from ingest.kinds.attachments import Piece, told_name
from ingest.kinds.contract import Cost, Kind
from ingest.kinds.head import Head, Match
from ingest.kinds.unpacking import Unpacking, is_packed
from ingest.kinds.zip_type import ZIP, zip_type
from ingest.types import Asset, Fact, Segment

ARCHIVE = Modality("archive")
"""The modality of a file that is not searched itself: `ingest.sources.archives` unpacks it."""


def members_of(asset: Asset, pieces: Iterable[Piece]) -> Iterator[Segment]:
    """Files as pieces of their content, uint8 [n_bytes].

    ``place`` has the file's name, when it was changed, and what is wrong with it.
    """
    for index, piece in enumerate(pieces):
        place: dict[str, Any] = {"member": told_name(piece.name), "number": piece.number}
        place["modified"] = piece.modified_s
        if piece.problem:
            place["error"] = type(piece.problem).__name__
            place |= {"problem": piece.problem.problem, "remedy": piece.problem.remedy}
        content = np.frombuffer(piece.data, np.uint8)
        yield Segment(asset.asset_id, ARCHIVE, index, content, place=json.dumps(place))


class Archive(Kind):
    """ZIP and tar files, and single files packed by gzip, bzip2, xz, Zstandard or LZ4."""

    name = "archive"
    modality = ARCHIVE
    formats = ("ZIP", "tar (.gz, .bz2, .xz, .zst)", "gzip")
    media_types = frozenset({"application/zip", "application/x-tar"})
    suffixes = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".txz", ".tbz2", ".zst", ".lz4")
    cost: ClassVar[Cost] = "video"
    holds_files = True
    max_bytes = "max_archive_bytes"

    def sniff(self, head: Head) -> Match | None:
        """By its signature, less surely than kinds of documents that are ZIP files."""
        if head.data.startswith(ZIP):
            return Match("application/zip", 0.6)
        return Match("application/x-tar", 0.95) if is_packed(head.data) else None

    def accepts(self, path: Path, media_type: str) -> bool:
        """Whether it is no document, as many ZIP files are."""
        return media_type != "application/zip" or not zip_type(path)

    def describe(self, path: Path, media_type: str, config: IngestConfig) -> Mapping[str, Fact]:  # noqa: ARG002
        return {"title": path.name}

    def segments(self, asset: Asset, path: Path, config: IngestConfig) -> Iterator[Segment]:
        return self.members(asset, path, config)

    def members(self, asset: Asset, path: Path, config: IngestConfig) -> Iterator[Segment]:
        index = -1
        with opened(path) as file, decoding(path, "an archive"):
            pieces = Unpacking(asset, config).pieces(file, path.stem)
            for index, segment in enumerate(members_of(asset, pieces)):  # noqa: B007
                yield segment
        if index < 0:
            raise UnsupportedMediaError(f"{path} holds no files.", remedy="Check what is in it.")

    def whole(self, segments: Sequence[Segment], max_frames: int = 16) -> Any:  # noqa: ARG002
        """The bytes of all files."""
        return np.concatenate([segment.content for segment in segments])

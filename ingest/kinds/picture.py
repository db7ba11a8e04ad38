"""Pictures: one segment each; of raw photos, the JPEG that the camera put into the file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import ClassVar

from encoder.errors import MediaError, UnsupportedMediaError
from encoder.media.formats import IMAGE_TYPES, PICTURES, marked, picture_brand
from encoder.media.image import ImageFacts, image_facts, load_image
from encoder.types import IMAGE, RgbPicture
from ingest.config import IngestConfig, check
from ingest.kinds.charset import read_bytes
from ingest.kinds.contract import Cost, Kind, Place
from ingest.kinds.head import Head, Match
from ingest.types import Asset, Fact, Segment

_UNMARKED = "image/x-tga"


class Picture(Kind):
    """All formats of `encoder.media.formats`."""

    name = "image"
    label = "Picture"
    icon = "M6 4h12a2 2 0 0 1 2 2v12a2 2 0 0 1-2 2H6a2 2 0 0 1-2-2V6a2 2 0 0 1 2-2z"
    modality = IMAGE
    formats = tuple(picture.name for picture in PICTURES)
    media_types = IMAGE_TYPES
    suffixes: ClassVar[tuple[str, ...]] = (
        *(".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ico"),
        *(".avif", ".heic", ".heif", ".hif", ".jp2", ".j2k", ".psd", ".icns", ".dds", ".qoi"),
        *(".pcx", ".sgi", ".ras", ".pbm", ".pgm", ".ppm", ".pnm", ".xpm", ".xbm", ".tga", ".cur"),
        *(".apng", ".mpo", ".dib", ".dcx", ".blp", ".pcd", ".pfm", ".jpf", ".jpx", ".jfif"),
    )
    cost: ClassVar[Cost] = "image"
    max_bytes = "max_image_bytes"
    shows = True

    def sniff(self, head: Head) -> Match | None:
        """By the brand of an ISO file, else by the mark of its format."""
        if not head.is_text and (brand := picture_brand(head.data)):
            return Match(brand[0])
        media_type = marked(head.data, is_text=head.is_text)
        # What looks like a TGA by chance is another kind rather.
        return Match(media_type, 0.7 if media_type == _UNMARKED else 0.9) if media_type else None

    def describe(self, path: Path, media_type: str, config: IngestConfig) -> Mapping[str, Fact]:  # noqa: ARG002
        """Title (its own, else the file's stem), size as seen, camera, place and description."""
        facts = image_facts(path, config.image_short_side)
        check(str(path), "max_pixels", facts.decoded_pixels, config)
        check(str(path), "max_image_frames", facts.n_frames, config)
        size: dict[str, Fact] = {"width": facts.width, "height": facts.height}
        written = facts.description.as_metadata()
        return {"title": path.stem, **size, **facts.camera.as_metadata(), **written}

    def segments(self, asset: Asset, path: Path, config: IngestConfig) -> Iterator[Segment]:
        """The picture; the first frame of an animation."""
        rgb = load_image(path, config.image_short_side, config.max_pixels)
        yield Segment(asset.asset_id, IMAGE, 0, rgb)

    def preview(self, asset: Asset, path: Path, place: Place, config: IngestConfig) -> Segment:  # noqa: ARG002
        return next(self.segments(asset, path, config))


_MARK = re.compile(
    rb"(?s)II\*\0....CR|II\x55\0|IIRO|IIRS|MMOR|FUJIFILMCCD-RAW|FOVb|\0MRM|....ftypcrx "
    rb"|II\x1a\0.{4}HEAPCCDR"
)
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_OF_TIFF = (".nef", ".nrw", ".arw", ".sr2", ".dng", ".pef", ".srw", ".3fr", ".iiq", ".erf", ".kdc")
"""Suffixes of raw photos that are TIFF files, whose first picture is a tiny one."""

_JPEG = re.compile(rb"\xff\xd8\xff[\xc4\xdb\xdd\xe0-\xef\xfe]")
_MOST_JPEGS = 32


class Raw(Picture):
    """Raw photos of cameras, by the largest JPEG within; nothing is developed."""

    name = "raw"
    label = "Raw photo"
    formats = ("raw photos (.cr2, .nef, .dng …)",)
    media_types: ClassVar[frozenset[str]] = frozenset({"image/x-raw"})
    suffixes = (".cr2", ".cr3", ".crw", ".raf", ".orf", ".rw2", ".x3f", ".mrw", *_OF_TIFF)

    def sniff(self, head: Head) -> Match | None:
        """By its mark; a TIFF file only with the suffix of a raw photo."""
        is_raw = _MARK.match(head.data) or (head.data.startswith(_TIFF) and head.suffix in _OF_TIFF)
        return Match("image/x-raw", 0.95) if is_raw else None

    def describe(self, path: Path, media_type: str, config: IngestConfig) -> Mapping[str, Fact]:  # noqa: ARG002
        facts, _ = _largest(path, config)
        size: dict[str, Fact] = {"width": facts.width, "height": facts.height}
        return {"title": path.stem, **size, **facts.camera.as_metadata()}

    def segments(self, asset: Asset, path: Path, config: IngestConfig) -> Iterator[Segment]:
        yield Segment(asset.asset_id, IMAGE, 0, _largest(path, config)[1])


def _largest(path: Path, config: IngestConfig) -> tuple[ImageFacts, RgbPicture]:
    data = read_bytes(path)
    pictures = list[tuple[ImageFacts, RgbPicture]]()
    for match in islice(_JPEG.finditer(data), _MOST_JPEGS):
        try:
            facts = image_facts(data[match.start() :])
            rgb = load_image(data[match.start() :], config.image_short_side, config.max_pixels)
        except MediaError:  # chance, or the raw picture itself, which is a lossless JPEG
            continue
        pictures.append((facts, rgb))
    if not pictures:
        raise UnsupportedMediaError(
            f"{path} is a raw photo without a preview.", remedy="Develop it to JPEG with darktable."
        )
    return max(pictures, key=lambda picture: picture[0].width * picture[0].height)

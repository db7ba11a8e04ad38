"""Pictures: one segment each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from encoder.media.brands import picture_brand
from encoder.media.formats import IMAGE_TYPES, PICTURES, marked
from encoder.media.image import image_facts, load_image
from encoder.types import IMAGE
from ingest.config import IngestConfig
from ingest.kinds.contract import Cost, Kind, Place
from ingest.kinds.head import Head, Match
from ingest.limits import check
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
        """The picture."""
        return next(self.segments(asset, path, config))

    def whole(self, segments: Sequence[Segment], max_frames: int = 16) -> Any:  # noqa: ARG002
        """The picture."""
        return segments[0].content

    def load(self) -> None:
        """Import Pillow with its plug-ins."""
        import PIL.Image

        from encoder.media.image import register_heif

        PIL.Image.init()
        register_heif()

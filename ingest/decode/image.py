"""Pictures: one segment each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from encoder.media.image import image_facts, load_image
from encoder.types import IMAGE
from ingest.config import IngestConfig
from ingest.limits import check
from ingest.types import Asset, Fact, Segment


def describe(path: Path, media_type: str, config: IngestConfig) -> Mapping[str, Fact]:  # noqa: ARG001
    """Title (the file's stem), width and height as seen."""
    facts = image_facts(path, config.image_short_side)
    check(str(path), "max_pixels", facts.decoded_pixels, config)
    check(str(path), "max_image_frames", facts.n_frames, config)
    return {"title": path.stem, "width": facts.width, "height": facts.height}


def segments(asset: Asset, path: Path, config: IngestConfig) -> Iterator[Segment]:
    """The picture; of an animation its first frame."""
    rgb = load_image(path, config.image_short_side, config.max_pixels)
    yield Segment(asset.asset_id, IMAGE, 0, rgb)

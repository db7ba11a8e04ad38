"""When, where and with what a picture or a film was taken."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from encoder.media.image import image_facts
from encoder.media.metadata.camera import CameraFacts, film_facts
from ingest import IngestConfig, identify
from tests.support.media import write_film

MAY = datetime(2024, 5, 17, 18, 30, tzinfo=UTC).timestamp()
BEIJING = {1: "N", 2: (39.0, 54.0, 27.0), 3: "E", 4: (116.0, 23.0, 17.52)}


def photo(path: Path, details: dict[int, Any], gps: dict[int, Any], **tags: Any) -> Path:
    exif = Image.Exif()
    exif.get_ifd(0x8769).update(details)
    exif.get_ifd(0x8825).update(gps)
    for name, value in tags.items():
        exif[{"make": 0x010F, "model": 0x0110}[name]] = value
    Image.new("RGB", (64, 48)).save(path, exif=exif)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "avif"])
def test_a_photo(tmp_path: Path, suffix: str) -> None:
    path = photo(
        tmp_path / f"a.{suffix}",
        {0x9003: "2024:05:17 18:30:00"},
        BEIJING,
        make="Apple",
        model="iPhone 15",
    )
    facts = image_facts(path).camera
    assert (facts.taken, facts.camera_model) == (MAY, "Apple iPhone 15")
    assert (facts.latitude, facts.longitude) == pytest.approx((39.9075, 116.3882), abs=1e-4)
    metadata = identify(path, IngestConfig(isolate=True)).metadata
    assert (metadata["taken"], metadata["latitude"]) == (MAY, facts.latitude)


def test_south_and_west(tmp_path: Path) -> None:
    gps = {1: "S", 2: (33.0, 30.0, 0.0), 3: "W", 4: (70.0, 15.0, 0.0)}
    facts = image_facts(photo(tmp_path / "a.jpg", {}, gps)).camera
    assert (facts.latitude, facts.longitude) == (-33.5, -70.25)


@pytest.mark.parametrize(
    ("details", "gps"),
    [
        ({}, {}),
        ({0x9003: "0000:00:00 00:00:00"}, {}),
        ({0x9003: "    :  :     :  :  "}, {}),
        ({0x9003: "yesterday"}, {1: "N", 2: (91.0, 0.0, 0.0), 3: "E", 4: (1.0, 0.0, 0.0)}),
        ({}, {1: "N", 2: (1.0, 0.0), 3: "E", 4: (1.0, 0.0)}),
        ({}, {1: "N", 2: (0.0, 0.0, 0.0), 3: "E", 4: (0.0, 0.0, 0.0)}),
        ({}, {2: (1.0, 0.0, 0.0)}),
    ],
)
def test_what_is_damaged_counts_as_not_written(
    tmp_path: Path, details: dict[int, Any], gps: dict[int, Any]
) -> None:
    assert image_facts(photo(tmp_path / "a.jpg", details, gps)).camera == CameraFacts()


def test_the_model_repeats_the_make(tmp_path: Path) -> None:
    path = photo(tmp_path / "a.jpg", {}, {}, make="NIKON CORPORATION", model="NIKON D90\0")
    assert image_facts(path).camera.camera_model == "NIKON D90"


def test_a_film(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.mp4", seconds=1.0, size=(64, 48))
    with (
        av.open(str(path)) as source,
        av.open(str(tmp_path / "b.mp4"), "w", options={"movflags": "use_metadata_tags"}) as copy,
    ):
        copy.metadata["creation_time"] = "2024-05-17T18:30:00.000000Z"
        copy.metadata["location"] = "+39.9075+116.3882/"
        stream = copy.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                copy.mux(packet)
    metadata = identify(tmp_path / "b.mp4", IngestConfig(isolate=True)).metadata
    assert metadata["taken"] == MAY
    assert np.isclose(float(metadata["longitude"]), 116.3882)


def test_apple_s_names() -> None:
    facts = film_facts(
        {
            "com.apple.quicktime.creationdate": "2024-05-17T18:30:00+0200",
            "creation_time": "2024-05-17T16:30:00.000000Z",
            "com.apple.quicktime.location.ISO6709": "-33.8568+151.2153+005.0/",
            "com.apple.quicktime.make": "Apple",
            "com.apple.quicktime.model": "iPhone 15 Pro",
        }
    )
    assert facts == CameraFacts(MAY, -33.8568, 151.2153, "Apple iPhone 15 Pro")
    assert film_facts({"creation_time": "1904-01-01T00:00:00Z"}) == CameraFacts()

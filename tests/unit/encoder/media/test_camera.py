"""What a file says of itself: camera, time, place, captions."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from encoder.media.image import image_facts
from encoder.media.metadata.camera import CameraFacts, film_facts, place_names
from encoder.media.metadata.description import MediaDescription
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


XMP = """<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmlns:exif="http://ns.adobe.com/exif/1.0/" xmp:Rating="4"
 exif:GPSLatitude="48,8.22N" exif:GPSLongitude="11,34,30E">
<exif:DateTimeOriginal>2024-05-17T18:30:00+02:00</exif:DateTimeOriginal>
<dc:title><rdf:Alt><rdf:li xml:lang="x-default">Nordsee</rdf:li></rdf:Alt></dc:title>
<dc:description><rdf:Alt><rdf:li xml:lang="x-default">Our  dog at the sea</rdf:li></rdf:Alt>
</dc:description>
<dc:subject><rdf:Bag><rdf:li>dog</rdf:li><rdf:li>海</rdf:li><rdf:li>dog</rdf:li></rdf:Bag></dc:subject>
</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""


def described_photo(path: Path, **saved: bytes) -> Path:
    Image.new("RGB", (64, 48)).save(path, **saved)
    return path


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_xmp(tmp_path: Path, suffix: str) -> None:
    facts = image_facts(described_photo(tmp_path / f"a.{suffix}", xmp=XMP.encode()))
    found = facts.description
    assert (found.title, found.caption) == ("Nordsee", "Our dog at the sea")
    assert (found.tags, found.rating) == (("dog", "海"), 4)
    assert (facts.camera.taken, facts.camera.latitude) == (MAY, 48.137)
    assert facts.camera.longitude == pytest.approx(11.575)


def test_metadata_of_an_asset(tmp_path: Path) -> None:
    path = described_photo(tmp_path / "a.jpg", xmp=XMP.encode())
    metadata = identify(path, IngestConfig(isolate=True)).metadata
    assert (metadata["title"], metadata["tags"]) == ("Nordsee", ["dog", "海"])
    assert (metadata["city"], metadata["country"]) == ("Munich", "Germany")
    assert {"München", "慕尼黑", "Bayern", "德国"} <= set(metadata["places"])


def iptc(*records: tuple[int, bytes]) -> bytes:
    """An APP13 segment of Photoshop with these records of the second dataset."""
    data = b"".join(
        b"\x1c\x02" + bytes([number]) + struct.pack(">H", len(value)) + value
        for number, value in records
    )
    resource = b"8BIM" + struct.pack(">H", 0x0404) + b"\0\0" + struct.pack(">I", len(data)) + data
    body = b"Photoshop 3.0\0" + resource + b"\0" * (len(data) % 2)
    return b"\xff\xed" + struct.pack(">H", len(body) + 2) + body


def test_iptc(tmp_path: Path) -> None:
    path = described_photo(tmp_path / "a.jpg")
    data = path.read_bytes()
    records = iptc(
        (5, b"Harbour"), (25, b"boat"), (25, "Möwe".encode("latin-1")), (55, b"20240517"),
        (60, b"183000"), (120, b"Fischerboote im Hafen"),
    )  # fmt: skip
    path.write_bytes(data[:2] + records + data[2:])
    facts = image_facts(path)
    assert (facts.description.title, facts.description.caption) == (
        "Harbour",
        "Fischerboote im Hafen",
    )
    assert (facts.description.tags, facts.camera.taken) == (("boat", "Möwe"), MAY)


@pytest.mark.parametrize(
    "packet",
    [
        XMP[:400],
        "<!DOCTYPE x [<!ENTITY a 'b'>]>" + XMP,
        XMP.replace('Rating="4"', 'Rating="-1"').replace("dc:", "xx:").replace("exif:", "yy:"),
        "\0\1\2",
    ],
    ids=["cut", "entities", "other", "noise"],
)
def test_what_is_damaged_is_not_written(tmp_path: Path, packet: str) -> None:
    facts = image_facts(described_photo(tmp_path / "a.jpg", xmp=packet.encode()))
    assert facts.description == MediaDescription()


@pytest.mark.parametrize(
    ("place", "city", "country"),
    [
        ((39.9, 116.4), "Beijing", "China"),
        ((52.4, 13.06), "Potsdam", "Germany"),
        ((51.512, -0.18), "London", "United Kingdom"),
        ((-33.86, 151.2), "Sydney", "Australia"),
        ((-16.43, 179.37), "Labasa", "Fiji"),
    ],
)
def test_the_name_of_a_place(place: tuple[float, float], city: str, country: str) -> None:
    names = place_names(*place)
    assert (names.city[0], names.country[0]) == (city, country)


def test_the_open_sea_has_no_name() -> None:
    assert place_names(0, -30) is None

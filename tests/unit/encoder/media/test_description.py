"""What people wrote into a photo."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image

from encoder.media.image import image_facts
from encoder.media.metadata.camera import place_names
from encoder.media.metadata.description import MediaDescription
from ingest import IngestConfig, identify

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
MAY = datetime(2024, 5, 17, 18, 30, tzinfo=UTC).timestamp()


def photo(path: Path, **saved: bytes) -> Path:
    Image.new("RGB", (64, 48)).save(path, **saved)
    return path


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_xmp(tmp_path: Path, suffix: str) -> None:
    facts = image_facts(photo(tmp_path / f"a.{suffix}", xmp=XMP.encode()))
    found = facts.description
    assert (found.title, found.caption) == ("Nordsee", "Our dog at the sea")
    assert (found.tags, found.rating) == (("dog", "海"), 4)
    assert (facts.camera.taken, facts.camera.latitude) == (MAY, 48.137)
    assert facts.camera.longitude == pytest.approx(11.575)


def test_metadata_of_an_asset(tmp_path: Path) -> None:
    path = photo(tmp_path / "a.jpg", xmp=XMP.encode())
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
    path = photo(tmp_path / "a.jpg")
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
    facts = image_facts(photo(tmp_path / "a.jpg", xmp=packet.encode()))
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

"""When, where (with names of towns by GeoNames) and with which camera."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoder.media.metadata.description import MediaDescription

if TYPE_CHECKING:
    from PIL.Image import Image

_TABLE = Path(__file__).parent / "places.npz"
_EARTH_KM = 6371.0
_NEAR_KM = 50.0
"""A place farther than this from every town has no name."""


@dataclass(frozen=True)
class PlaceNames:
    """Names of a place: in English, then in German and Chinese where the table has them."""

    city: Sequence[str]
    region: Sequence[str]
    country: Sequence[str]

    def as_metadata(self) -> dict[str, str | list[str]]:
        """The English names by what they name, and all names as ``places``."""
        every = [name for names in vars(self).values() for name in names]
        first = {what: names[0] for what, names in vars(self).items() if names}
        return {**first, "places": list(dict.fromkeys(every))}


def place_names(latitude: float, longitude: float) -> PlaceNames | None:
    """The names of a point in degrees (WGS 84); None where no town is within 50 km.

    The nearest town counts, and larger ones reach farther: a suburb of two thousand people in a
    city of a million counts as that city.
    """
    table = _table()
    point = _on_sphere(np.array([[latitude, longitude]], np.float64))
    chords = np.linalg.norm(table.points - point, axis=1)
    distances_km = 2 * _EARTH_KM * np.arcsin(np.minimum(chords / 2, 1))
    best = int(np.argmin(distances_km - table.reach_km))
    if distances_km[best] - table.reach_km[best] > _NEAR_KM:
        return None
    name, region, country, more_names = table.towns[best].split("\t")
    return PlaceNames(
        [name, *filter(None, more_names.split("|"))],
        list(filter(None, table.regions[int(region)].split("|"))),
        table.countries[country].split("|"),
    )


class _Table(NamedTuple):
    """Towns: points on the unit sphere [n, 3], how far a town's name reaches [n], and its names."""

    points: NDArray[np.float32]
    reach_km: NDArray[np.float32]
    towns: Sequence[str]
    regions: Sequence[str]
    countries: dict[str, str]


@cache
def _table() -> _Table:
    with np.load(_TABLE) as arrays:
        return _Table(
            _on_sphere(arrays["places"]).astype(np.float32),
            np.sqrt(arrays["people"]) / 100,  # 10 km for a million people
            _lines(arrays["towns"]),
            _lines(arrays["regions"]),
            dict(line.split("\t") for line in _lines(arrays["countries"])),
        )


def _lines(packed: NDArray[np.uint8]) -> list[str]:
    return packed.tobytes().decode().split("\n")


def _on_sphere(degrees: NDArray[Any]) -> NDArray[Any]:
    """Points [n, 3] of latitudes and longitudes [n, 2]."""
    latitude, longitude = np.radians(degrees.astype(np.float64)).T
    radius = np.cos(latitude)
    points = radius * np.cos(longitude), radius * np.sin(longitude), np.sin(latitude)
    return np.stack(points, axis=1)


_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_MAKE, _MODEL, _CHANGED = 0x010F, 0x0110, 0x0132
_TAKEN, _DIGITIZED = 0x9003, 0x9004
_LATITUDE_REF, _LATITUDE, _LONGITUDE_REF, _LONGITUDE = 1, 2, 3, 4
_NAME_CHARS = 100
# +48.8577+002.295/ or +48.8577+002.295+035.0/ (ISO 6709, as phones write it)
_ISO_6709 = re.compile(r"([+-]\d{2}(?:\.\d+)?)([+-]\d{3}(?:\.\d+)?)")
_LOCATIONS = ("com.apple.quicktime.location.ISO6709", "location", "location-eng")
_DATES = ("com.apple.quicktime.creationdate", "creation_time", "date")
_EARLIEST_S = -2_051_222_400.0  # 1905: a clock that was never set says 0000 or 1904


@dataclass(frozen=True)
class CameraFacts:
    """When, where and with which camera; None or empty where nothing is written.

    ``taken`` is the local time where the picture was taken, in seconds since 1970 as if it were
    UTC: "May 2024" means the photographer's May. Degrees are WGS 84.
    """

    taken: float | None = None
    latitude: float | None = None
    longitude: float | None = None
    camera_model: str = ""

    def as_metadata(self) -> dict[str, str | float | list[str]]:
        """What is known, and what the place is called."""
        facts = {name: value for name, value in vars(self).items() if value not in (None, "")}
        if self.latitude is None or self.longitude is None:
            return facts
        names = place_names(self.latitude, self.longitude)
        return {**facts, **names.as_metadata()} if names else facts


NOT_WRITTEN = CameraFacts()


def photo_facts(image: Image, written: MediaDescription) -> CameraFacts:
    """The facts of an opened picture; what is damaged counts as not written.

    EXIF takes precedence over ``written``, what people and programs wrote next to it.
    """
    from PIL.Image import Exif

    try:
        exif = image.getexif()
        details, coordinates = exif.get_ifd(_EXIF_IFD), exif.get_ifd(_GPS_IFD)
    except (ValueError, TypeError, KeyError, OSError, SyntaxError, AttributeError):
        exif, details, coordinates = Exif(), {}, {}
    times = (details.get(_TAKEN), details.get(_DIGITIZED), exif.get(_CHANGED))
    latitude = _degrees(coordinates.get(_LATITUDE), coordinates.get(_LATITUDE_REF), 90)
    longitude = _degrees(coordinates.get(_LONGITUDE), coordinates.get(_LONGITUDE_REF), 180)
    if latitude is None or longitude is None:
        latitude, longitude = written.latitude, written.longitude
    facts = latitude is not None and longitude is not None and (latitude, longitude) != (0, 0)
    taken = (time for value in times if (time := _exif_time(value)) is not None)
    return CameraFacts(
        next(taken, _iso_time(written.taken)),
        latitude if facts else None,
        longitude if facts else None,
        _camera(exif.get(_MAKE), exif.get(_MODEL)),
    )


def film_facts(metadata: Mapping[str, str]) -> CameraFacts:
    """The facts in a container's metadata."""
    times = (_iso_time(metadata[name]) for name in _DATES if name in metadata)
    places = (_ISO_6709.match(metadata[name]) for name in _LOCATIONS if name in metadata)
    coordinates = next(filter(None, places), None)
    make = metadata.get("com.apple.quicktime.make", metadata.get("make"))
    model = metadata.get("com.apple.quicktime.model", metadata.get("model"))
    return CameraFacts(
        next((time for time in times if time is not None), None),
        float(coordinates[1]) if coordinates else None,
        float(coordinates[2]) if coordinates else None,
        _camera(make, model),
    )


def _exif_time(value: Any) -> float | None:
    """``2024:05:17 18:30:00``"""
    text = str(value or "").strip("\0 ")
    return _seconds(text[:10].replace(":", "-") + text[10:19])


def _iso_time(value: str) -> float | None:
    """``2024-05-17T18:30:00+0200``: the zone is left out, since the local time counts."""
    return _seconds(value[:19].replace("T", " "))


def _seconds(text: str) -> float | None:
    try:
        time = datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
    return time if time > _EARLIEST_S else None


def _degrees(parts: Any, reference: Any, max_degrees: int) -> float | None:
    try:
        degrees, minutes, seconds = (float(number) for number in parts)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    value = degrees + minutes / 60 + seconds / 3600
    sign = -1 if str(reference).strip("\0 ").upper() in ("S", "W") else 1
    return round(sign * value, 6) if 0 <= value <= max_degrees else None


def _camera(make: Any, model: Any) -> str:
    """``Apple iPhone 15``; most models repeat the make."""
    make, model = (" ".join(str(name or "").replace("\0", " ").split()) for name in (make, model))
    whole = model if model.lower().startswith(make.lower()[:5]) else f"{make} {model}".strip()
    return whole[:_NAME_CHARS]

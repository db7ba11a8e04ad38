"""Names of places by their coordinates, from a table of the world's towns (GeoNames)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    return table.names(best)


@dataclass(frozen=True, eq=False)
class _Table:
    """Towns: points on the unit sphere [n, 3], how far a town's name reaches [n], and its names."""

    points: NDArray[np.float32]
    reach_km: NDArray[np.float32]
    towns: Sequence[str]
    regions: Sequence[str]
    countries: dict[str, str]

    def names(self, row_number: int) -> PlaceNames:
        name, region, country, more_names = self.towns[row_number].split("\t")
        return PlaceNames(
            [name, *filter(None, more_names.split("|"))],
            list(filter(None, self.regions[int(region)].split("|"))),
            self.countries[country].split("|"),
        )


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
    return np.stack(
        [
            np.cos(latitude) * np.cos(longitude),
            np.cos(latitude) * np.sin(longitude),
            np.sin(latitude),
        ],
        axis=1,
    )

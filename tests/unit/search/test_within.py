"""A search within a filter finds what it would if there were nothing else."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoder.space import Space, l2_normalize
from encoder.types import TEXT, Item
from search import Query, SearchEngine, Term, as_json
from search.errors import NotFoundError
from search.filters import matches, parse_filter
from search.store.base import VectorStore
from search.store.open import open_store
from search.types import READINGS, AssetRow, JsonValue, SegmentRow
from tests.support.encoders import Alike

DIM = 4
SPACE = Space(DIM, {"model": "one"})
OURS = parse_filter({"field": "tags", "contains": "ours"})
TEXTS = (
    "lighthouse", "lighthouse 7", "divorce", "dvorce", "beijing", "photos from june 2019",
    "june 2019 in beijing", "lighthouse in vienna",
)  # fmt: skip


def photo(n: int, path: str, **metadata: JsonValue) -> tuple[AssetRow, list[SegmentRow]]:
    name = f"photo{n:04}"
    embedding = l2_normalize(np.array([[1, 0.1 + n / 200, 0, 0]], np.float32))[0]
    row = AssetRow(name, TEXT, "text/plain", 1, {TEXT: 1}, [path], metadata)
    text = f"{path.rpartition('/')[2]} {n}"
    return row, [SegmentRow(f"{name}s", name, TEXT, 0, embedding, snippet=text)]


def library() -> list[tuple[AssetRow, list[SegmentRow]]]:
    here: dict[str, Any] = {"latitude": 39.9, "longitude": 116.4, "places": ["Beijing"]}
    theirs = [photo(n, f"/x/lighthouse {n}.txt", **here, city="Beijing") for n in range(500)]
    theirs += [photo(500, "/x/divorce.txt", taken=1560000000)]
    ours = [
        photo(600, "/y/the lighthouse of vienna.txt", tags=["ours"], taken=1560000000),
        photo(601, "/y/dvorce.txt", tags=["ours"], taken=1561000000),
        photo(602, "/y/a note on beijing.txt", tags=["ours"]),
        *(photo(n, f"/y/boat {n}.txt", tags=["ours"]) for n in range(603, 640)),
    ]
    return [*theirs, *ours]


def opened(uri: str, photos: list[tuple[AssetRow, list[SegmentRow]]]) -> VectorStore:
    store = open_store(uri, "0123456789abcdef", DIM, calibration={})
    store.write([row for row, _ in photos], [s for _, segments in photos for s in segments])
    return store


@pytest.fixture(params=["memory", "folder"])
def engines(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[SearchEngine]]:
    """Of all, and of ours."""
    photos = library()
    sides = {"all": photos, "ours": [p for p in photos if matches(OURS, p[0])]}
    uris = {name: "memory:" if request.param == "memory" else tmp_path / name for name in sides}
    stores = [opened(str(uris[name]), side) for name, side in sides.items()]
    engines = [SearchEngine(Alike(SPACE), store) for store in stores]
    for engine in engines:
        while engine.search(Query([Item(TEXT, "x")], within=OURS)).warnings:
            time.sleep(0.05)
    yield engines
    for engine, store in zip(engines, stores, strict=True):
        engine.close()
        store.close()


def told(engine: SearchEngine, query: Query) -> dict[str, Any]:
    return {
        name: value for name, value in as_json(engine.search(query)).items() if name != "latency_s"
    }


@pytest.mark.parametrize("text", TEXTS)
def test_answers_are_the_same(engines: list[SearchEngine], text: str) -> None:
    options: dict[str, Any] = {"explain": True, "understand": READINGS}
    query = Query([Item(TEXT, text)], within=OURS, limit=50, **options)
    query = pickle.loads(pickle.dumps(query))  # as another process gets it
    whole, alone = (told(engine, query) for engine in engines)
    assert whole["hits"]
    assert whole == alone
    unnarrowed = Query([Item(TEXT, text)], limit=50, **options)
    assert told(engines[0], unnarrowed)["hits"] != whole["hits"]


def test_more_like_what_lies_outside(engines: list[SearchEngine]) -> None:
    for asset_id in ("photo0000", "nothing"):
        with pytest.raises(NotFoundError, match=asset_id):
            engines[0].search(Query([Term(asset_id=asset_id)], within=OURS))
    assert engines[0].search(Query([Term(asset_id="photo0600")], within=OURS)).hits


def test_a_page_of_everything_does_not_go_on_within(engines: list[SearchEngine]) -> None:
    first = engines[0].search(Query([Item(TEXT, "boat")], limit=2))
    with pytest.raises(ValueError, match="another query"):
        engines[0].search(
            Query([Item(TEXT, "boat")], limit=2, cursor=first.next_cursor, within=OURS)
        )

"""Shots of one photo are one hit; different photos never are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoder.media.look import likeness, look_of
from encoder.space import Space
from encoder.types import IMAGE, TEXT, Item, Modality
from search import Hit, Query, SearchEngine, Term
from search.api.responses.plain_values import asset_json
from search.ranking.grouping import same_photos
from search.store.memory import MemoryStore
from search.types import LOOK, AssetRow, SegmentRow
from tests.support.encoders import Given
from tests.support.media import picture, shot_of

DIM = 8
N_SHOTS = 14


def photo(
    name: str, look: str, taken: float | None = None, n_segments: int = 1, kind: Modality = IMAGE
) -> AssetRow:
    metadata = {LOOK: look} | ({} if taken is None else {"taken": taken})
    return AssetRow(name, kind, "image/jpeg", 1, {kind: n_segments}, [f"/{name}"], metadata)


def put(store: MemoryStore, row: AssetRow, cosine: float) -> None:
    vector = np.zeros(DIM, np.float32)
    vector[:2] = cosine, np.sqrt(1 - cosine**2)
    store.write([row], [SegmentRow(f"{row.asset_id}-0", row.asset_id, IMAGE, 0, vector)])


@pytest.fixture
def engine() -> SearchEngine:
    """Over a burst whose shots rank among 30 other photos, the worst of them behind 20."""
    store = MemoryStore(DIM)
    original = picture(seed=500)
    for n in range(N_SHOTS):
        look = look_of(shot_of(original, n))
        put(store, photo(f"shot{n:02}", look, 1e9 + 3 * n), 0.95 - 0.02 * n)
    for n in range(30):
        put(store, photo(f"other{n:02}", look_of(picture(seed=n)), 1e9 + n), 0.94 - 0.013 * n)
    return SearchEngine(Given(Space(DIM, {})), store)


QUESTION = Item(TEXT, np.eye(DIM, dtype=np.float32)[0])


def pages(engine: SearchEngine, query: Query) -> list[Sequence[Hit]]:
    result = engine.search(query)
    found = [result.hits]
    while result.next_cursor:
        result = engine.search(replace(query, cursor=result.next_cursor))
        found.append(result.hits)
    return found


def ids(hits: Sequence[Hit]) -> list[str]:
    return [hit.asset_id for hit in hits]


IN_ORDER = {"sort": "taken", "score_threshold": -99.0}


@pytest.mark.parametrize("options", [{}, {"diversity": 0.3}, IN_ORDER])
def test_a_burst_takes_one_place_of_a_full_page(
    engine: SearchEngine, options: dict[str, object]
) -> None:
    first, *further = pages(engine, Query([QUESTION], **options))  # type: ignore[arg-type]
    assert len(first) == 10
    (burst,) = (hit for hit in first if hit.asset_id.startswith("shot"))
    assert burst.asset_id == "shot00"
    assert ids(burst.stack) == [f"shot{n:02}" for n in range(1, N_SHOTS)]
    assert burst.stack[0].uri == "/shot01"
    shown = ids([shot for page in [first, *further] for hit in page for shot in (hit, *hit.stack)])
    assert len(shown) == len(set(shown)) == N_SHOTS + 30


def test_stacks_can_be_switched_off_and_segments_have_none(engine: SearchEngine) -> None:
    for query in (Query([QUESTION], stacks=False), Query([QUESTION], group_by="segment")):
        hits = engine.search(query).hits
        assert sum(hit.asset_id.startswith("shot") for hit in hits) > 3
        assert not any(hit.stack for hit in hits)


def test_more_like_a_shot_finds_the_others_as_a_stack(engine: SearchEngine) -> None:
    hits = engine.search(Query([Term(asset_id="shot05")])).hits
    (burst,) = (hit for hit in hits if hit.asset_id.startswith("shot"))
    assert {burst.asset_id, *ids(burst.stack)} == {f"shot{n:02}" for n in range(N_SHOTS) if n != 5}


def test_a_quota_and_a_threshold_count_stacks(engine: SearchEngine) -> None:
    hits = engine.search(Query([QUESTION], quotas={IMAGE: 4})).hits
    assert len(hits) == 4
    assert [bool(hit.stack) for hit in hits] == [True, False, False, False]
    hits = engine.search(Query([QUESTION], score_threshold=0.9)).hits
    assert ids(hits[0].stack) == ["shot01", "shot02"]


LOOKS = [look_of(picture(seed=n)) for n in range(4)]
AGAIN = look_of(shot_of(picture(seed=0), 1))


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (photo("b", AGAIN, 20.0), True),
        (photo("b", AGAIN), True),
        (photo("b", AGAIN, 900.0), False),
        (photo("b", LOOKS[1], 10.0), False),
        (photo("b", LOOKS[0], 20.0, n_segments=3), True),
        (photo("b", LOOKS[0], 90.0, n_segments=3), False),
        (photo("b", LOOKS[0], n_segments=3), False),
        (photo("b", AGAIN, 20.0, kind=TEXT), False),
        (photo("b", "no look", 10.0), False),
        (photo("b", "", 10.0), False),
    ],
)
def test_look_and_time_tell_photos_apart(other: AssetRow, same: bool) -> None:
    one = photo("a", LOOKS[0], 10.0 if "taken" in other.metadata else None)
    assert same_photos([one, other])[0, 1] == same


def test_what_has_nothing_to_see_or_is_a_page_looks_like_nothing() -> None:
    page = np.full((400, 300, 3), 250, np.uint8)
    assert look_of(page) == ""
    page[60:100, 30:270] = page[300:304, 30:200] = 40  # a headline and a line
    assert look_of(page) == ""
    assert likeness(["", ""])[0, 1] == 0


@given(st.integers(0, 999), st.integers(1, 7), st.booleans())
@settings(max_examples=40)
def test_pages_hold_every_photo_once_in_stacks_of_what_is_alike(
    seed: int, limit: int, is_sorted: bool
) -> None:
    rng = np.random.default_rng(seed)
    store = MemoryStore(DIM)
    rows = [
        photo(f"{n:02}", LOOKS[rng.integers(4)], float(rng.integers(0, 5)) * 40) for n in range(25)
    ]
    for row in rows:
        put(store, row, float(rng.uniform(-1, 1)))
    options: dict[str, Any] = IN_ORDER if is_sorted else {}
    query = Query([QUESTION], limit=limit, **options)
    found = pages(SearchEngine(Given(Space(DIM, {})), store), query)
    shots = [shot for page in found for hit in page for shot in (hit, *hit.stack)]
    assert sorted(ids(shots)) == [row.asset_id for row in rows]
    looks = {row.asset_id: row.metadata[LOOK] for row in rows}
    order = [hit.metadata["taken"] if is_sorted else -hit.score for page in found for hit in page]
    assert order == sorted(order)
    for page in found:
        assert all(looks[shot.asset_id] == looks[h.asset_id] for h in page for shot in h.stack)
        assert all(shot.score <= hit.score for hit in page for shot in hit.stack)
    assert all(len(page) == limit for page in found[:-1])


def test_neither_a_hit_nor_its_asset_shows_what_only_searches_and_ingest_use() -> None:
    row = photo("a", LOOKS[0], 1e9)
    row = replace(row, metadata={**row.metadata, "object_versions": ["s3://b/a?v=1"]})
    store = MemoryStore(DIM)
    put(store, row, 0.9)
    (hit,) = SearchEngine(Given(Space(DIM, {})), store).search(Query([QUESTION])).hits
    assert hit.metadata == asset_json(row)["metadata"] == {"taken": 1e9}

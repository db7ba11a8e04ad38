"""A list in the order of a field is the same list: all of it, on every page, in every store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np
import pytest

from encoder.space import Bank, Space
from encoder.types import IMAGE, TEXT, Embeddings, Item, Modality
from search import Hit, Query, SearchEngine, SearchResult
from search.store.base import VectorStore
from search.types import AssetRow
from tests.contract.rows import CALIBRATION, DIM, segment
from tests.support.encoders import Given

N_ASSETS, N_STRONG = 120, 64
ASKED = np.eye(DIM, dtype=np.float32)[0]
# Chance gives nothing, so that what scores 2.81 is strong: a cosine of .4955.
LEVEL = CALIBRATION[TEXT].apply(0.0)
AXIS = np.eye(1, DIM, 2, dtype=np.float32)
BANK = Bank(np.zeros(DIM, np.float32), AXIS, AXIS[0], 0.0, LEVEL, 0.0, LEVEL, 4.09)


def at(cosine: float) -> Embeddings:
    row = np.zeros(DIM, np.float32)
    row[:2] = cosine, np.sqrt(1 - cosine**2)
    return row


def note(name: str, number: int, modality: Modality = TEXT) -> AssetRow:
    """One in ten has no date; the dates are in no order."""
    metadata = {} if number % 10 == 7 else {"taken": 1e9 + (number * 37) % 101}
    return AssetRow(
        name, modality, "text/plain", 1 + number % 13, {modality: 1}, [f"/{name}"], metadata
    )


def fill(store: VectorStore) -> None:
    cosines = np.concatenate(
        [np.linspace(0.97, 0.5, N_STRONG), np.linspace(0.47, -0.3, N_ASSETS - N_STRONG)]
    )
    rows = [note(f"n{number:03}", number) for number in range(N_ASSETS)]
    store.write(
        rows,
        [
            segment(row.asset_id, 0, at(cosine), TEXT)
            for row, cosine in zip(rows, cosines, strict=True)
        ],
    )


@pytest.fixture
def engine(store: VectorStore) -> Iterator[SearchEngine]:
    fill(store)
    engine = SearchEngine(Given(Space(DIM, {}, CALIBRATION, bank=BANK)), store)
    yield engine
    engine.close()


def pages(engine: SearchEngine, query: Query) -> Iterator[SearchResult]:
    result = engine.search(query)
    yield result
    while result.next_cursor:
        result = engine.search(replace(query, cursor=result.next_cursor))
        yield result


def ids(hits: Sequence[Hit]) -> list[str]:
    return [hit.asset_id for hit in hits]


QUERY = Query([Item(TEXT, ASKED)], modalities=[TEXT], limit=24)


@pytest.mark.parametrize("limit", [10, 24, 100])
def test_all_strong_hits_come_in_order_on_all_pages_and_the_weak_ones_behind_them(
    engine: SearchEngine, limit: int
) -> None:
    found = list(pages(engine, replace(QUERY, sort="-taken", limit=limit)))
    hits = list(chain.from_iterable(result.hits for result in found))
    assert sorted(ids(hits)) == [f"n{number:03}" for number in range(N_ASSETS)]
    assert {result.total for result in found} == {N_STRONG}
    assert [hit.weak for hit in hits] == [False] * N_STRONG + [True] * (N_ASSETS - N_STRONG)
    strong, weak = hits[:N_STRONG], hits[N_STRONG:]
    dates = [hit.metadata["taken"] for hit in strong if "taken" in hit.metadata]
    assert dates == sorted(dates, reverse=True)
    assert not any("taken" in hit.metadata for hit in strong[len(dates) :])
    assert [hit.score for hit in weak] == sorted((hit.score for hit in weak), reverse=True)
    by_score = chain.from_iterable(result.hits for result in pages(engine, QUERY))
    assert {hit.asset_id for hit in by_score if not hit.weak} == set(ids(strong))


@pytest.mark.parametrize(
    ("sort", "value"),
    [
        ("date", lambda row: row.metadata.get("taken", np.inf)),
        ("name", lambda row: row.asset_id),
        ("size_bytes", lambda row: row.size_bytes),
    ],
)
def test_a_list_is_ordered_by_date_name_and_size(
    engine: SearchEngine, store: VectorStore, sort: str, value: object
) -> None:
    hits = chain.from_iterable(result.hits for result in pages(engine, replace(QUERY, sort=sort)))
    strong = [hit.asset_id for hit in hits if not hit.weak]
    rows = store.assets(strong)
    values = [value(rows[asset_id]) for asset_id in strong]  # type: ignore[operator]
    assert values == sorted(values)


def test_a_list_says_how_many_it_has_once_that_is_known(engine: SearchEngine) -> None:
    assert [result.total for result in pages(engine, QUERY)] == [None, None, *[N_STRONG] * 3]
    counted = list(pages(engine, replace(QUERY, count=True)))
    assert {result.total for result in counted} == {N_STRONG}
    assert ids(counted[0].hits) == [f"n{number:03}" for number in range(24)]
    bounded = replace(QUERY, score_threshold=5.0)
    n_bounded = sum(len(result.hits) for result in pages(engine, bounded))
    assert engine.search(replace(bounded, sort="name", limit=1)).total == n_bounded < N_STRONG


def test_what_is_only_ranked_is_sorted_page_by_page(engine: SearchEngine) -> None:
    given = replace(QUERY, items=[Item(TEXT, ASKED), Item(IMAGE, ASKED)], sort="taken", limit=10)
    first, second, *_ = pages(engine, given)
    assert sorted(ids(first.hits)) == [f"n{number:03}" for number in range(10)]
    assert first.total is None
    for result in (first, second):
        dates = [hit.metadata.get("taken", np.inf) for hit in result.hits]
        assert dates == sorted(dates)


def test_what_arrives_or_leaves_between_sorted_pages_repeats_and_loses_nothing(
    engine: SearchEngine, store: VectorStore
) -> None:
    query = replace(QUERY, sort="taken", limit=10)
    result = engine.search(query)
    seen, n = ids(result.hits), 0
    while result.next_cursor:
        if n < 5:
            new = note(f"new{n}", 900 + n)
            store.write([new], [segment(new.asset_id, 0, at(0.9 - 0.1 * n), TEXT)])
            store.delete([seen[n]])
        result = engine.search(replace(query, cursor=result.next_cursor))
        seen, n = [*seen, *ids(result.hits)], n + 1
    assert len(seen) == len(set(seen))
    assert {f"n{number:03}" for number in range(N_ASSETS)} <= set(seen)
    assert {f"new{number}" for number in range(5)} <= set(seen)


def test_quotas_are_filled_in_the_order_of_the_whole_list(
    engine: SearchEngine, store: VectorStore
) -> None:
    pictures = [note(f"p{number}", number, IMAGE) for number in range(9)]
    rows = [segment(row.asset_id, 0, at(0.9 - n / 20)) for n, row in enumerate(pictures)]
    store.write(pictures, rows)
    query = replace(QUERY, modalities=(), quotas={TEXT: 5, IMAGE: 2}, score_threshold=0.0)
    found = list(pages(engine, replace(query, sort="name", limit=10)))
    hits = [hit for result in found for hit in result.hits if not hit.weak]
    for modality in (TEXT, IMAGE):
        of_kind = [hit.asset_id for hit in hits if hit.modality == modality]
        assert of_kind == sorted(of_kind)
    assert [hit.modality for hit in found[0].hits].count(TEXT) == 5


def test_a_cursor_belongs_to_its_order(engine: SearchEngine) -> None:
    from encoder.errors import InputError

    cursor = engine.search(replace(QUERY, sort="taken")).next_cursor
    with pytest.raises(InputError, match=r"query\.cursor"):
        engine.search(replace(QUERY, sort="-taken", cursor=cursor))


def test_an_explained_hit_keeps_its_place_by_score(engine: SearchEngine) -> None:
    hits = engine.search(replace(QUERY, sort="taken", explain=True)).hits
    ranks = {hit.asset_id: hit.explanation.rank for hit in hits if hit.explanation}
    assert ranks == {asset_id: int(asset_id[1:]) + 1 for asset_id in ids(hits)}

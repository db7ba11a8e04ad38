"""A part of a store answers as a store would that holds nothing else, and leaves the rest alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from encoder.types import AUDIO, TEXT
from search.errors import OutsideError
from search.filters import matches, parse_filter
from search.store.base import VectorStore
from search.store.memory import MemoryStore
from search.store.overview import FIRST
from search.store.visible import Visible
from search.types import AssetRow, SegmentRow
from tests.contract.rows import (
    CALIBRATION,
    DIM,
    assert_same_answers,
    corpus,
    knows_words,
    segment,
    vectors,
)

FILTERS = (
    {"field": "path", "prefix": "/anna/"},
    {"field": "tags", "contains": "family"},
    {"not": {"field": "tags", "contains": "family"}},
    {"and": [{"field": "modality", "eq": "text"}, {"field": "metadata.room", "gt": 2}]},
)


def library() -> tuple[list[AssetRow], list[SegmentRow]]:
    """Each third asset lies with Anna, some of these with Bob, too."""
    rows, segments = corpus(30)
    assets = []
    for number, row in enumerate(rows):
        uris = [f"/{'anna' if number % 3 == 0 else 'bob'}/{row.asset_id}"]
        uris += [f"/bob/secret-{number}"] * (number % 6 == 0)
        tags = ["family"] if number % 2 else ["bob"]
        facts = {**row.metadata, "tags": tags, "room": number % 5, "taken": 1000.0 * number}
        assets.append(replace(row, locations=uris, metadata=facts))
    spoken = [
        replace(s, snippet=f"rain {s.asset_id} " + ("thunder" if n % 4 else "hail"))
        if s.modality == TEXT
        else s
        for n, s in enumerate(segments)
    ]
    return assets, spoken


def alone(assets: list[AssetRow], segments: list[SegmentRow]) -> MemoryStore:
    """A store with nothing but these."""
    store = MemoryStore(DIM, CALIBRATION)
    ids = {row.asset_id for row in assets}
    store.write(assets, [s for s in segments if s.asset_id in ids])
    return store


@pytest.mark.parametrize("condition", FILTERS, ids=str)
def test_answers_are_those_of_a_store_without_the_rest(
    store: VectorStore, condition: dict[str, object]
) -> None:
    within = parse_filter(condition)
    assets, segments = library()
    store.write(assets, segments)
    part = Visible(store, within)
    shown = [row for row in assets if matches(within, row)]
    if condition == FILTERS[0]:
        shown = [replace(row, locations=row.locations[:1]) for row in shown]
    oracle = Visible(alone(shown, segments), within)
    assert 0 < len(shown) < len(assets)
    assert list(part.scan()) == list(oracle.scan()) == sorted(shown, key=lambda r: r.asset_id)
    assert list(part.select(None)) == list(oracle.select(None))
    assert part.count() == len(shown)
    assert part.sizes() == oracle.sizes()
    ids, uris = [row.asset_id for row in assets], [u for row in assets for u in row.locations]
    assert part.assets(ids) == oracle.assets(ids)
    assert part.assets_at(uris) == oracle.assets_at(uris)
    assert part.facets(None) == oracle.facets(None)
    assert part.newest(None, 99, FIRST) == oracle.newest(None, 99, FIRST)
    secret = parse_filter({"field": "path", "contains": "secret"})
    assert list(part.select(secret)) == list(oracle.select(secret))
    assert [bool(part.embeddings(x)) for x in ids] == [bool(oracle.embeddings(x)) for x in ids]
    if condition in FILTERS[:2]:
        assert_same_answers(part, oracle)
    if knows_words(store):
        found, wanted = (s.lexical("rain thunder", 50) for s in (part, oracle))
        assert [(x.segment_id, x.cosine) for x in found] == [
            (x.segment_id, x.cosine) for x in wanted
        ]
        assert part.frequencies(["rain", "hail"]) == oracle.frequencies(["rain", "hail"])


def test_nothing_outside_is_written(store: VectorStore) -> None:
    assets, segments = library()
    store.write(assets, segments)
    part = Visible(store, parse_filter(FILTERS[1]))
    theirs, ours = assets[0], assets[1]
    new = replace(ours, asset_id="new", locations=["/anna/new"])
    refused = [
        [replace(theirs, metadata=ours.metadata)],
        [replace(ours, metadata=theirs.metadata)],
        [new, theirs],
    ]
    for rows in refused:
        with pytest.raises(OutsideError):
            part.write(rows, [])
    with pytest.raises(OutsideError):
        part.write([], [segment(theirs.asset_id, 9, vectors(1)[0], TEXT)])
    part.delete([theirs.asset_id])
    with pytest.raises(OutsideError):
        part.recalibrate({}, {})
    assert list(store.scan()) == sorted(assets, key=lambda row: row.asset_id)
    part.write([new], [segment("new", 0, vectors(1)[0], AUDIO)])
    part.delete([ours.asset_id])
    assert store.assets(["new", ours.asset_id]).keys() == {"new"}


def test_other_locations_of_an_asset_stay(store: VectorStore) -> None:
    assets, segments = library()
    store.write(assets, segments)
    part = Visible(store, parse_filter(FILTERS[0]))
    both = assets[0]
    (seen,) = part.assets([both.asset_id]).values()
    assert seen.locations == both.locations[:1]
    moved = replace(seen, locations=["/anna/moved"])
    part.write([moved], [])
    assert store.assets([both.asset_id])[both.asset_id].locations == [
        "/anna/moved",
        "/bob/secret-0",
    ]
    with pytest.raises(OutsideError):
        part.write([replace(moved, locations=["/anna/moved", "/bob/new"])], [])
    part.delete([both.asset_id])
    assert store.assets([both.asset_id])[both.asset_id].locations == ["/bob/secret-0"]
    assert store.embeddings(both.asset_id)
    assert not part.assets([both.asset_id])

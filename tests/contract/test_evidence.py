"""Dates and places of a question, looked up in every store."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from encoder.space import Space
from encoder.types import TEXT, Item
from search import Query, SearchEngine, SearchResult
from search.store.base import VectorStore
from search.types import READINGS
from tests.contract.rows import CALIBRATION, DIM, asset, segment, vectors
from tests.support.encoders import Alike


@pytest.mark.parametrize("most", [1000, 1])
def test_what_shows_a_date_or_a_place_is_found_by_metadata_names_and_text(
    store: VectorStore, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.understanding.evidence._MOST_ASSETS", most)
    when = datetime(2024, 5, 17, tzinfo=UTC).timestamp()
    where = {"places": ["Munich", "München"], "city": "Munich"}
    located = {"taken": when, "latitude": 48.14, "longitude": 11.58, **where}
    photos = [replace(asset(name, f"/{name}.jpg"), metadata=located) for name in ("p1", "p2")]
    named = asset("named", "/2024-05 minutes.jpg")
    letter = replace(asset("letter", "/letter.txt", modality=TEXT), media_type="text/plain")
    others = [asset(f"other{n}", f"/o{n}.jpg") for n in range(40)]
    rows = vectors(50)
    said = segment("letter", 0, rows[49], TEXT, snippet="München, 3. Mai 2024", char_start=0)
    store.write(
        [*photos, named, letter, *others],
        [
            *(segment(row.asset_id, 0, rows[n]) for n, row in enumerate([*photos, named, *others])),
            said,
        ],
    )
    engine = SearchEngine(Alike(Space(DIM, {"model": "same"}, CALIBRATION)), store)

    def answer(text: str) -> SearchResult:
        query = Query([Item(TEXT, text)], limit=50, understand=READINGS, explain=True)
        return engine.search(query)

    def gaining(text: str) -> set[str]:
        hits = answer(text).hits
        return {hit.asset_id for hit in hits if hit.explanation and hit.explanation.evidence}

    assert gaining("something of May 2024") == {"p1", "p2", "named", "letter"}
    assert gaining("something of 17 May 2024") == {"p1", "p2"}
    assert gaining("something in Munich") == {"p1", "p2", "letter"}
    assert gaining("something of May 2023") == set()
    assert {hit.asset_id for hit in answer("photos from 2024").hits} >= {"p1", "p2"}
    assert len(answer("photos from 2024").hits) == (3 if most > 1 else 2)
    engine.close()

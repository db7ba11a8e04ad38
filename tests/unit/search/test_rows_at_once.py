"""Kinds whose segments have several vectors are searched by one call."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from encoder.space import Calibration
from encoder.types import AUDIO, IMAGE, TEXT, Embeddings, Item
from search import Query, SearchEngine
from search.store.memory import MemoryStore
from search.store.schema import segment_id
from search.types import AssetRow, SegmentRow
from tests.unit.search.test_engine import DIM, DirectionEncoder, axis

BY = {IMAGE: Calibration(0.5, 0.1, (Calibration(-0.5, 1.0),)), AUDIO: Calibration(0.1, 0.1)}


def pictures(rows: NDArray[np.float32]) -> MemoryStore:
    """Pictures /0, /1 and so on by their rows, [n, 2, DIM]."""
    store = MemoryStore(DIM, BY)
    for number, of_one in enumerate(rows):
        name, key = f"{number}", segment_id(f"{number}", IMAGE, 0, "f")
        parts = [SegmentRow(key, name, IMAGE, 0, one, row=row) for row, one in enumerate(of_one)]
        store.write([AssetRow(name, IMAGE, "x/y", 1, 1, [f"/{name}"])], parts)
    return store


def found(store: MemoryStore, limit: int) -> list[str]:
    query = Query([Item(TEXT, axis(0))], [IMAGE], limit=limit)
    return [hit.uri for hit in SearchEngine(DirectionEncoder(BY), store).search(query).hits]


def test_several_rows_of_a_kind_are_searched_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(0).normal(size=(60, 2, DIM)).astype(np.float32)
    store = pictures(rows)
    search_mixed, asked = store.search_mixed, []

    def noted(query: Embeddings, kinds: Any, *args: Any, **options: Any) -> Any:
        asked.append(kinds)
        return search_mixed(query, kinds, *args, **options)

    monkeypatch.setattr(store, "search_mixed", noted)
    cosines = (rows / np.linalg.norm(rows, axis=2, keepdims=True))[..., 0]
    scores = ((cosines - [0.5, -0.5]) / [0.1, 1.0]).max(axis=1)
    wanted = [f"/{number}" for number in np.argsort(-scores)]
    assert found(store, 5) == wanted[:5]
    assert found(store, 60) == wanted
    assert asked == [[IMAGE], [IMAGE]]

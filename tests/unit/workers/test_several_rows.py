"""Pictures of two vectors, from files to hits: each is one segment, one asset and one hit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest
from PIL import Image

from encoder.types import IMAGE, TEXT, Item
from search import Query, SearchEngine
from search.store.memory import MemoryStore
from tests.faults.tiny_worker import DIM, TinyEncoder
from workers.pipeline.ingest_job import IngestJob

if TYPE_CHECKING:
    from encoder import MultiModalEncoder

N_PICTURES = 12


@pytest.fixture
def store(tmp_path: Path) -> MemoryStore:
    store = MemoryStore(DIM)
    for number in range(N_PICTURES):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((64, 64)).save(tmp_path / f"{number}.png")
    (tmp_path / "note.txt").write_text("A note.")
    job = IngestJob(cast("MultiModalEncoder", TinyEncoder()), store)
    report = job.run(sorted(map(str, tmp_path.iterdir())))
    assert (report.ingested, report.failures) == (N_PICTURES + 1, [])
    assert report.segments == {"image": N_PICTURES, "text": 1}
    return store


def test_segments_are_counted_and_rows_are_stored(store: MemoryStore) -> None:
    assert store.sizes() == {IMAGE: N_PICTURES, TEXT: 1}
    assert {row.n_segments for row in store.scan()} == {1}
    assert len(store._segments) == 2 * N_PICTURES + 1


def test_pages_hold_each_picture_once_by_its_better_vector(store: MemoryStore) -> None:
    engine = SearchEngine(TinyEncoder(), store)
    query = Query([Item(TEXT, "whatever")], modalities=[IMAGE], limit=5, explain=True)
    hits, cursors = [], [""]
    while len(cursors) < 4:
        page = engine.search(Query(**{**vars(query), "cursor": cursors[-1]}))
        hits += page.hits
        cursors.append(page.next_cursor)
    assert len({hit.asset_id for hit in hits}) == len(hits) == N_PICTURES
    assert not cursors[-1]
    asked = TinyEncoder().encode_items([Item(TEXT, "whatever")])[0]
    for hit in hits:
        cosines = [float(asked @ row.embedding) for row in store.embeddings(hit.asset_id)]
        assert hit.score == pytest.approx(max(cosines), abs=1e-5)
        assert hit.explanation is not None
        assert hit.explanation.row == int(np.argmax(cosines))
        assert hit.explanation.cosine == pytest.approx(max(cosines), abs=1e-5)
    assert {hit.explanation.row for hit in hits if hit.explanation} == {0, 1}
    engine.close()

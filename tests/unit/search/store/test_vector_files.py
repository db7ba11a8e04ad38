"""Vectors of the index beside Milvus Lite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

from encoder.space import l2_normalize
from encoder.types import Embeddings
from search.store.embedded import vector_files as vector_files
from search.store.embedded.codes import CHUNK
from search.store.embedded.vector_files import STEP, VectorFiles


@pytest.fixture
def n_threads() -> Iterator[int]:
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(3)
    yield 3
    faiss.omp_set_num_threads(before)


def appended(files: VectorFiles, start: int, rows: Embeddings, nos: NDArray[np.int32]) -> None:
    """Write rows, and know their checksums, as a process that reads the tables does."""
    files.nos(start + len(rows), files.append(start, rows, nos, files._sum))


def test_a_search_waits_for_no_team_of_threads(
    tmp_path: Path, n_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[int] = []
    in_chunks = vector_files.in_chunks

    def noted(*args: Any) -> Any:
        used.append(faiss.omp_get_max_threads())
        return in_chunks(*args)

    monkeypatch.setattr(vector_files, "in_chunks", noted)
    rows = l2_normalize(np.random.default_rng(0).standard_normal((CHUNK + 9, 8), np.float32))
    files = VectorFiles(tmp_path, 1, 8)
    appended(files, 0, rows, np.arange(len(rows), dtype=np.int32))
    (found,) = files.nearest(rows[7:8], 5, len(rows), None)
    files.close()
    assert found.slots[0] == 7
    assert used
    assert set(used) == {1}
    assert faiss.omp_get_max_threads() == n_threads


def test_newest_rows_are_found_by_codes_and_by_floats(tmp_path: Path) -> None:
    rows = l2_normalize(np.random.default_rng(0).standard_normal((3 * STEP + 9, 32), np.float32))
    files = VectorFiles(tmp_path, 1, 32)
    for start, end in ((0, STEP - 1), (STEP - 1, STEP + 1), (STEP + 1, len(rows))):
        appended(files, start, rows[start:end], np.arange(start, end, dtype=np.int32))
        (found,) = files.nearest(rows[:1], 20, end, None)
        wanted = np.argsort(-(rows[:end].astype(np.float64) @ rows[0].astype(np.float64)))[:20]
        assert found.slots[:20].tolist() == wanted.tolist()
    odd = np.arange(len(rows)) % 2 == 1
    (found,) = files.nearest(rows[:1], 20, len(rows), odd)
    assert not found.slots.size or odd[found.slots].all()
    files.close()


def test_codes_of_newest_rows_are_made_once_a_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    of = vector_files.ByteCodes.of
    monkeypatch.setattr(
        vector_files.ByteCodes, "of", lambda rows: made.append(len(rows)) or of(rows)
    )
    rows = l2_normalize(np.random.default_rng(0).standard_normal((2 * STEP + 9, 8), np.float32))
    files = VectorFiles(tmp_path, 1, 8)
    appended(files, 0, rows, np.arange(len(rows), dtype=np.int32))
    for n_slots in (9, STEP + 1, STEP + 2, 2 * STEP - 1, 2 * STEP, len(rows)):
        files.nearest(rows[:1], 5, n_slots, None)
    files.close()
    assert made == [STEP, 2 * STEP]


def test_codes_lead_to_the_nearest_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_files, "CHUNK", 2048)
    rng = np.random.default_rng(0)
    rows = l2_normalize(
        rng.standard_normal((5000, 64)).astype(np.float32) * np.linspace(0.1, 2, 64)
    )
    part = VectorFiles(tmp_path, 1, 64)
    appended(part, 0, rows, np.zeros(5000, np.int32))
    queries = l2_normalize(rows[:40] + 0.05 * rng.standard_normal((40, 64)).astype(np.float32))
    wanted = np.arange(5000) % 2 == 0
    for chosen in (None, wanted):
        cosines = queries @ rows.T
        if chosen is not None:
            cosines[:, ~chosen] = -1
        nearest = np.argsort(-cosines, axis=1)[:, :10]
        found = part.nearest(queries, 10, 5000, chosen)
        shared = [len(set(a.slots[:10]) & set(b)) for a, b in zip(found, nearest, strict=True)]
        assert np.mean(shared) / 10 >= 0.99
    part.close()


def test_a_chunk_may_hold_all_of_the_nearest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_files, "CHUNK", 256)
    rng = np.random.default_rng(0)
    rows = l2_normalize(rng.standard_normal((5000, 64)).astype(np.float32))
    rows[512:768] = l2_normalize(rows[512] + 0.5 * rows[512:768])
    part = VectorFiles(tmp_path, 1, 64)
    appended(part, 0, rows, np.zeros(5000, np.int32))
    (found,) = part.nearest(rows[512:513], 200, 5000, None)
    nearest = np.argsort(-(rows @ rows[512]), kind="stable")[:200]
    assert set(found.slots[:200]) == set(nearest)
    part.close()

"""Vectors of the index beside Milvus Lite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from encoder.space import l2_normalize
from search.store.embedded import vectors
from search.store.embedded.vectors import CHUNK, VectorFiles


@pytest.fixture
def n_threads() -> Iterator[int]:
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(3)
    yield 3
    faiss.omp_set_num_threads(before)


def test_a_search_waits_for_no_team_of_threads(
    tmp_path: Path, n_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[int] = []
    nearest = vectors._Codes.nearest

    def noted(codes: Any, *args: Any) -> Any:
        used.append(faiss.omp_get_max_threads())
        return nearest(codes, *args)

    monkeypatch.setattr(vectors._Codes, "nearest", noted)
    rows = l2_normalize(np.random.default_rng(0).standard_normal((CHUNK + 9, 8), np.float32))
    files = VectorFiles(tmp_path, 1, 8)
    files.append(0, rows, np.arange(len(rows), dtype=np.int32))
    (found,) = files.nearest(rows[7:8], 5, len(rows), None)
    files.close()
    assert found.slots[0] == 7
    assert used
    assert set(used) == {1}
    assert faiss.omp_get_max_threads() == n_threads

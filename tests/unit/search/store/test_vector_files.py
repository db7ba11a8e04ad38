"""Vectors of the index beside Milvus Lite: their codes, and what a search finds by them."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

from encoder.space import l2_normalize
from encoder.types import Embeddings
from search.store.folder import vector_files
from search.store.folder.codes import NibbleCodes
from search.store.folder.database import DamagedError
from search.store.folder.vector_files import STEP, Chunk, VectorFiles, in_chunks

_CHUNK = 2048
_DIM = 64


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_files, "CHUNK", _CHUNK)
    monkeypatch.setattr(vector_files, "_FEW", 8)


@pytest.fixture
def n_threads() -> Iterator[int]:
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(3)
    yield 3
    faiss.omp_set_num_threads(before)


def _narrow(n: int, dim: int = _DIM) -> Embeddings:
    """Unit rows as encoders make them: near one another, some dimensions much wider than others."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((n, dim)).astype(np.float32) * np.linspace(0.05, 0.5, dim)
    return l2_normalize((rows + 0.4).astype(np.float32))


def _append(part: VectorFiles, start: int, rows: Embeddings) -> None:
    """Write rows, and know their checksums, as a process that reads the tables does."""
    total = part.append(start, rows, np.zeros(len(rows), np.int32), part._sum)
    part.nos(start + len(rows), total)


def _part(folder: Path, rows: Embeddings) -> VectorFiles:
    part = VectorFiles(folder, 1, rows.shape[1])
    _append(part, 0, rows)
    return part


def _nearest(queries: Embeddings, rows: Embeddings, n: int) -> NDArray[np.int64]:
    return np.argsort(-(queries @ rows.T), axis=1)[:, :n]


def _share(slots: NDArray[np.int64], nearest: NDArray[np.int64]) -> float:
    pairs = zip(slots.tolist(), nearest.tolist(), strict=True)
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in pairs]))


@pytest.mark.parametrize("dim", [_DIM, 33, 1])
def test_about_the_best_have_the_best(dim: int) -> None:
    rows = _narrow(_CHUNK + 50, dim)
    rows, queries = rows[:_CHUNK], rows[_CHUNK:]
    scored = in_chunks(queries, 64, [Chunk(5, NibbleCodes.of(rows), None)])
    assert scored.scores.shape == scored.slots.shape == (1, 50, 64)
    if dim > 1:
        assert _share(scored.slots[0] - 5, _nearest(queries, rows, 10)) >= 0.99
        assert scored.scores[0, :, 0] == pytest.approx((queries @ rows.T).max(axis=1), abs=0.05)


def test_rows_that_are_equal_can_be_coded() -> None:
    row = l2_normalize(np.ones((1, _DIM), np.float32))
    scored = in_chunks(row, 3, [Chunk(0, NibbleCodes.of(np.repeat(row, 100, axis=0)), None)])
    assert scored.scores.ravel() == pytest.approx(1, abs=0.01)
    assert (scored.slots >= 0).all()


def test_unwanted_rows_make_room_for_others() -> None:
    rows = _narrow(_CHUNK + 20)
    rows, queries = rows[:_CHUNK], rows[_CHUNK:]
    wanted = np.ones(_CHUNK, bool)
    wanted[_nearest(queries, rows, 5)] = False
    codes = NibbleCodes.of(rows)
    scored = in_chunks(queries, 64, [Chunk(0, codes, wanted)])
    assert wanted[scored.slots].all()
    left = np.flatnonzero(wanted)
    assert _share(scored.slots[0], left[_nearest(queries, rows[wanted], 10)]) >= 0.99
    scored = in_chunks(queries, 64, [Chunk(0, codes, np.arange(_CHUNK) < 9)])
    assert ((scored.slots >= 0).sum(axis=2) == 9).all()


def test_codes_lead_to_the_nearest_rows(tmp_path: Path) -> None:
    """In whole chunks, in one that is not complete, and where a filter leaves most, half or few."""
    rng = np.random.default_rng(0)
    rows = _narrow(5000)
    part = _part(tmp_path, rows)
    queries = l2_normalize(rows[:40] + 0.05 * rng.standard_normal((40, _DIM)).astype(np.float32))
    numbers = np.arange(5000)
    for wanted in (None, numbers % 10 > 0, numbers % 2 == 0, numbers % 900 == 0):
        cosines = queries @ rows.T
        if wanted is not None:
            cosines[:, ~wanted] = -1
        n = 5 if wanted is not None and wanted.sum() < 10 else 10
        best = part.nearest(queries, n, 5000, wanted)
        slots = np.stack([of_query.slots[:n] for of_query in best])
        assert _share(slots, np.argsort(-cosines, axis=1)[:, :n]) >= 0.99
    part.close()


def test_newest_rows_are_found_by_codes_and_by_floats(tmp_path: Path) -> None:
    rows = l2_normalize(np.random.default_rng(0).standard_normal((3 * STEP + 9, 32), np.float32))
    part = VectorFiles(tmp_path, 1, 32)
    for start, end in ((0, STEP - 1), (STEP - 1, STEP + 1), (STEP + 1, len(rows))):
        _append(part, start, rows[start:end])
        (best,) = part.nearest(rows[:1], 20, end, None)
        wanted = np.argsort(-(rows[:end].astype(np.float64) @ rows[0].astype(np.float64)))[:20]
        assert best.slots[:20].tolist() == wanted.tolist()
    part.close()


def test_a_chunk_may_hold_all_of_the_nearest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_files, "CHUNK", 256)
    rng = np.random.default_rng(0)
    rows = l2_normalize(rng.standard_normal((5000, 64)).astype(np.float32))
    rows[512:768] = l2_normalize(rows[512] + 0.5 * rows[512:768])
    part = _part(tmp_path, rows)
    (best,) = part.nearest(rows[512:513], 200, 5000, None)
    assert set(best.slots[:200]) == set(np.argsort(-(rows @ rows[512]), kind="stable")[:200])
    part.close()


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
def test_a_filter_that_leaves_out_the_nearest_finds_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    """In every chunk all that is wanted is far behind what is not, and one chunk has the best."""
    monkeypatch.setattr(vector_files, "CHUNK", 512)
    rng = np.random.default_rng(0)
    rows = l2_normalize(rng.standard_normal((40 * 512, 64)).astype(np.float32))
    wanted = rng.random(len(rows)) < share
    rows[~wanted] = l2_normalize(rows[~wanted] + 0.8 * rows[0])
    rows[3 * 512 : 4 * 512] = l2_normalize(rows[3 * 512 : 4 * 512] + 0.3 * rows[0])
    part = _part(tmp_path, rows)
    (best,) = part.nearest(rows[:1], 100, len(rows), wanted)
    cosines = np.where(wanted, rows @ rows[0], -1)
    assert _share(best.slots[None, :100], np.argsort(-cosines)[None, :100]) >= 0.99
    part.close()


def test_a_search_waits_for_no_team_of_threads(
    tmp_path: Path, n_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[int] = []

    def noted(*chunks: Any, **options: Any) -> Any:
        used.append(faiss.omp_get_max_threads())
        return in_chunks(*chunks, **options)

    monkeypatch.setattr(vector_files, "in_chunks", noted)
    rows = _narrow(_CHUNK + 9)
    part = _part(tmp_path, rows)
    (best,) = part.nearest(rows[7:8], 5, len(rows), None)
    part.close()
    assert best.slots[0] == 7
    assert set(used) == {1}
    assert faiss.omp_get_max_threads() == n_threads


def test_a_writer_makes_what_a_search_reads(tmp_path: Path) -> None:
    rows = _narrow(2 * _CHUNK + 9)
    part = _part(tmp_path, rows)
    part.complete(len(rows), part._sum)
    kept = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert {"1.0.nibbles", "1.1.nibbles"} < set(kept)
    part.complete(len(rows), part._sum)
    for wanted in (None, np.arange(len(rows)) % 2 > 0):
        part.nearest(rows[:1], 10, len(rows), wanted)
    part.close()
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == kept


def test_what_cannot_be_kept_is_used_all_the_same(tmp_path: Path) -> None:
    rows = _narrow(_CHUNK)
    part = _part(tmp_path, rows)
    (tmp_path / "1.0.nibbles").mkdir()
    part.complete(len(rows), part._sum)
    (best,) = part.nearest(rows[3:4], 10, len(rows), None)
    part.close()
    assert best.slots[0] == 3
    assert not [path for path in tmp_path.iterdir() if "-" in path.name]


def test_threads_that_miss_codes_at_once_all_find(tmp_path: Path) -> None:
    rows = _narrow(4 * _CHUNK)
    part = _part(tmp_path, rows)
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(part.nearest, rows[n : n + 1], 5, len(rows), None) for n in range(16)]
        assert [answer.result()[0].slots[0] for answer in asked] == list(range(16))
    part.close()
    assert len(list(tmp_path.glob("*.nibbles"))) == 4
    assert not list(tmp_path.glob("*-*"))


def test_rows_that_half_a_byte_loses_are_searched_by_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((_CHUNK, 256)).astype(np.float32)
    rows[:, 7] = 20 + 8 * rows[:, 7]
    rows = l2_normalize(rows)
    for _ in range(2):
        part = _part(tmp_path, rows)
        part.complete(len(rows), part._sum)
        best = part.nearest(rows[:20], 10, len(rows), None)
        part.close()
        slots = np.stack([of_query.slots[:10] for of_query in best])
        assert _share(slots, _nearest(rows[:20], rows, 10)) >= 0.99
        assert not (tmp_path / "1.0.nibbles").read_bytes()
        # the next one opens what it finds
        monkeypatch.setattr(NibbleCodes, "of", lambda _: pytest.fail("coded again"))


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_rows_that_are_damaged_while_they_are_mapped_are_noticed(
    tmp_path: Path, damage: str
) -> None:
    rows = _narrow(_CHUNK)
    part = _part(tmp_path, rows)
    few = np.arange(_CHUNK) > _CHUNK - 5
    part.nearest(rows[:1], 3, _CHUNK, few)
    with (tmp_path / "1.rows").open("r+b") as file:
        if damage == "cut":
            file.truncate((_CHUNK - 1) * 4 * _DIM)
        else:
            file.seek((_CHUNK - 2) * 4 * _DIM)
            file.write(b"damaged")
    with pytest.raises(DamagedError):
        part.nearest(rows[:1], 3, _CHUNK, few)
    part.close()


def test_codes_are_mapped_and_given_back(tmp_path: Path) -> None:
    """All processes share them; the end of one, with or without `close`, frees nothing of them."""
    rows = _narrow(2 * _CHUNK)
    part = _part(tmp_path, rows)
    (before,) = part.nearest(rows[:1], 10, len(rows), None)
    assert str(tmp_path / "1.0.nibbles") in Path("/proc/self/maps").read_text()
    part.close()
    gc.collect()
    assert str(tmp_path / "1.0.nibbles") not in Path("/proc/self/maps").read_text()
    np.save(tmp_path / "rows.npy", rows)
    script = f"""
import numpy as np
from pathlib import Path
from search.store.folder import vector_files
from search.store.folder.vector_files import VectorFiles
vector_files.CHUNK = {_CHUNK}
rows = np.load({str(tmp_path / "rows.npy")!r})
part = VectorFiles(Path({str(tmp_path)!r}), 1, {_DIM})
part.nos(len(rows), {part._sum})
(best,) = part.nearest(rows[:1], 10, len(rows), None)
print(best.slots[0])
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout.strip()) == (0, str(before.slots[0])), ended.stderr

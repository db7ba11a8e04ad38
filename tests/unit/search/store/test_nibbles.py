"""Codes of half a byte a dimension, and when a search compares by them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from encoder.space import l2_normalize
from encoder.types import Embeddings
from search.store.embedded import vector_files as files
from search.store.embedded.codes import ByteCodes, NibbleCodes
from search.store.embedded.ranking import Chunk, in_chunks
from search.store.embedded.vector_files import VectorFiles

_CHUNK = 2048
_DIM = 64


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "CHUNK", _CHUNK)
    monkeypatch.setattr(files, "_FEW", 8)


def _narrow(n: int, dim: int = _DIM) -> Embeddings:
    """Unit rows as encoders make them: near one another, some dimensions much wider than others."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((n, dim)).astype(np.float32) * np.linspace(0.05, 0.5, dim)
    return l2_normalize((rows + 0.4).astype(np.float32))


def _nearest(queries: Embeddings, rows: Embeddings, n: int) -> NDArray[np.int64]:
    return np.argsort(-(queries @ rows.T), axis=1)[:, :n]


def _share(found: NDArray[np.int64], nearest: NDArray[np.int64]) -> float:
    pairs = zip(found.tolist(), nearest.tolist(), strict=True)
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in pairs]))


@pytest.mark.parametrize("dim", [_DIM, 33, 1])
def test_about_the_best_have_the_best(dim: int) -> None:
    rows = _narrow(_CHUNK + 50, dim)
    rows, queries = rows[:_CHUNK], rows[_CHUNK:]
    found = in_chunks(queries, 64, [Chunk(5, NibbleCodes.of(rows), None)])
    assert found.scores.shape == found.slots.shape == (1, 50, 64)
    if dim > 1:
        assert _share(found.slots[0] - 5, _nearest(queries, rows, 10)) >= 0.99
        assert found.scores[0, :, 0] == pytest.approx((queries @ rows.T).max(axis=1), abs=0.05)


def test_rows_that_are_equal_can_be_coded() -> None:
    row = l2_normalize(np.ones((1, _DIM), np.float32))
    found = in_chunks(row, 3, [Chunk(0, NibbleCodes.of(np.repeat(row, 100, axis=0)), None)])
    assert found.scores.ravel() == pytest.approx(1, abs=0.01)
    assert (found.slots >= 0).all()


def test_unwanted_rows_make_room_for_others() -> None:
    rows = _narrow(_CHUNK + 20)
    rows, queries = rows[:_CHUNK], rows[_CHUNK:]
    wanted = np.ones(_CHUNK, bool)
    wanted[_nearest(queries, rows, 5)] = False
    codes = NibbleCodes.of(rows)
    found = in_chunks(queries, 64, [Chunk(0, codes, wanted)])
    assert (found.slots >= 0).all()
    assert wanted[found.slots].all()
    left = np.flatnonzero(wanted)
    assert _share(found.slots[0], left[_nearest(queries, rows[wanted], 10)]) >= 0.99
    few = np.arange(_CHUNK) < 9
    found = in_chunks(queries, 64, [Chunk(0, codes, few)])
    assert ((found.slots >= 0).sum(axis=2) == 9).all()


def test_codes_of_both_kinds_are_ranked_together() -> None:
    rows = _narrow(2 * _CHUNK + 50)
    rows, queries = rows[: 2 * _CHUNK], rows[2 * _CHUNK :]
    halves = rows[:_CHUNK], rows[_CHUNK:]
    chunks = [
        Chunk(0, ByteCodes.of(halves[0]), None),
        Chunk(_CHUNK, NibbleCodes.of(halves[1]), None),
    ]
    found = in_chunks(queries, 64, chunks)
    scores = np.concatenate(found.scores, axis=1)
    slots = np.take_along_axis(
        np.concatenate(found.slots, axis=1), np.argsort(-scores, axis=1)[:, :64], axis=1
    )
    assert _share(slots, _nearest(queries, rows, 10)) >= 0.99


def test_a_filter_is_searched_by_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = _narrow(2 * _CHUNK)
    part = VectorFiles(tmp_path, 1, _DIM)
    part.nos(len(rows), part.append(0, rows, np.zeros(len(rows), np.int32)))
    used: list[str] = []
    for kind in (ByteCodes, NibbleCodes):
        nearest: Any = kind.nearest

        def noted(codes: Any, *rest: Any, nearest: Any = nearest) -> None:
            used.append(codes.SUFFIX)
            nearest(codes, *rest)

        monkeypatch.setattr(kind, "nearest", noted)
    a_tenth_less, half = np.arange(len(rows)) % 10 > 0, np.arange(len(rows)) % 2 > 0
    for wanted, kind_used in ((None, NibbleCodes), (a_tenth_less, NibbleCodes), (half, ByteCodes)):
        used.clear()
        (found,) = part.nearest(rows[3:4], 10, len(rows), wanted)
        assert set(used) == {kind_used.SUFFIX}
        assert found.slots[0] == 3
        assert wanted is None or wanted[found.slots].all()
    part.close()


def test_a_writer_makes_what_a_search_reads(tmp_path: Path) -> None:
    rows = _narrow(2 * _CHUNK + 9)
    part = VectorFiles(tmp_path, 1, _DIM)
    part.nos(len(rows), part.append(0, rows, np.zeros(len(rows), np.int32)))
    part.complete(len(rows))
    kept = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert {"1.0.nibbles", "1.1.nibbles", "1.0.codes", "1.1.codes"} < set(kept)
    part.complete(len(rows))
    for wanted in (None, np.arange(len(rows)) % 2 > 0):
        part.nearest(rows[:1], 10, len(rows), wanted)
    part.close()
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == kept


def test_what_cannot_be_kept_is_used_all_the_same(tmp_path: Path) -> None:
    rows = _narrow(_CHUNK)
    part = VectorFiles(tmp_path, 1, _DIM)
    part.nos(len(rows), part.append(0, rows, np.zeros(len(rows), np.int32)))
    (tmp_path / "1.0.nibbles").mkdir()
    part.complete(len(rows))
    (found,) = part.nearest(rows[3:4], 10, len(rows), None)
    part.close()
    assert found.slots[0] == 3
    assert not [path for path in tmp_path.iterdir() if "-" in path.name]


def test_threads_that_miss_codes_at_once_all_find(tmp_path: Path) -> None:
    rows = _narrow(4 * _CHUNK)
    part = VectorFiles(tmp_path, 1, _DIM)
    part.nos(len(rows), part.append(0, rows, np.zeros(len(rows), np.int32)))
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(part.nearest, rows[n : n + 1], 5, len(rows), None) for n in range(16)]
        assert [one.result()[0].slots[0] for one in asked] == list(range(16))
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
    assert not NibbleCodes.of(rows).finds_nearest(rows)
    assert NibbleCodes.of(_narrow(_CHUNK)).finds_nearest(_narrow(_CHUNK))
    nearest = _nearest(rows[:20], rows, 10)
    for _ in range(2):
        part = VectorFiles(tmp_path, 1, 256)
        part.nos(len(rows), part.append(0, rows, np.zeros(len(rows), np.int32)))
        part.complete(len(rows))
        found = part.nearest(rows[:20], 10, len(rows), None)
        part.close()
        assert _share(np.stack([one.slots[:10] for one in found]), nearest) >= 0.99
        assert not (tmp_path / "1.0.nibbles").read_bytes()
        # the next one opens what it finds
        monkeypatch.setattr(NibbleCodes, "of", lambda _: pytest.fail("coded again"))

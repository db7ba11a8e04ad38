"""How stores are compared: `benchmarks.scale.protocol`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks.scale import protocol


class Half:
    """Knows the even rows alone, without a file."""

    kept: protocol.Rows = np.empty((0, 8), np.float32)

    def __init__(self, _folder: Path) -> None:
        pass

    def add(self, ids: Sequence[int], rows: protocol.Rows, tenth: Sequence[bool]) -> None:
        assert len(ids) == len(rows) == len(tenth)
        Half.kept = np.concatenate([Half.kept, rows])

    def finish(self) -> None:
        Half.kept[1::2] = 0

    def nearest(self, query: protocol.Rows, tenth: bool) -> list[int]:
        places = np.argsort(-(Half.kept @ query))
        known = [int(place) for place in places if place % 2 == 0 and (not tenth or place < 200)]
        return known[: protocol.LIMIT]


def test_a_store_is_judged_by_the_exact_nearest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = np.abs(np.random.default_rng(0).normal(size=(1200, 8))).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    np.save(tmp_path / "tenth.npy", (np.arange(1200) < 200) & (np.arange(1200) % 2 == 0))
    np.save(tmp_path / "queries.npy", rows[:20])
    for what in ("fill", "ask"):
        monkeypatch.setattr("sys.argv", ["", "half", what, str(tmp_path)])
        protocol.main({"half": Half})
    assert len(Half.kept) == 1200
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["recall"] == pytest.approx(0.5, abs=0.15)
    assert found["recall of the filter"] == 1.0
    assert found["plain"][1] <= found["plain"][0]

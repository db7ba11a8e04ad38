"""The table of workers with limits, and the files that they get."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.pipeline import workers
from benchmarks.pipeline.workers import Cost, Files, rows_of


def test_more_workers_are_judged_beside_one_round_by_round() -> None:
    rounds = [
        {1: Cost(0.2, 80.0), 2: Cost(0.208, 80.0), 4: Cost(0.22, 100.0)},
        {1: Cost(0.1, 80.0), 2: Cost(0.102, 80.0), 4: Cost(0.11, 100.0)},
    ]
    one, two, four = rows_of(rounds)
    assert one == ["1", "0.150 (0.100–0.200)", "", "80", "1.00"]
    said = "+3.0 (-9.7 to +15.7); +3.0 (≤ 5: met)"  # two rounds say little
    assert two == ["2", "0.155 (0.102–0.208)", said, "80", "2.00"]
    said = "+10.0 (+10.0 to +10.0); +10.0 (≤ 5: missed)"
    assert four == ["4", "0.165 (0.110–0.220)", said, "100", "3.20"]


def test_every_worker_gets_as_much_of_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[list[str]] = []

    def samples(folder: Path) -> None:
        folder.mkdir()
        for name in ("a.wav", "b-speech.wav", "c.wav", "a.png", "b.png"):
            (folder / name).touch()

    monkeypatch.setattr(workers, "make_samples", samples)
    monkeypatch.setattr(workers, "make_corpus", lambda _to, _of, names: made.append(list(names)))
    files = Files(tmp_path, 20)
    texts, pictures, speech = (files.warm(), made.copy())[1]
    files.folder(1)
    files.folder(4)
    one, four = made[3:]
    assert not {*one} & {*four, *texts, *pictures, *speech}
    assert all(int(name.partition(".")[0]) % 3 == 1 for name in speech)

    def subjects(names: list[str]) -> list[tuple[int, str]]:
        parts = [name.split(".") for name in names]
        return sorted((int(number) % 6, kind) for number, kind in parts)

    assert subjects(four) == sorted(4 * subjects(one))
    assert len(one) == 20

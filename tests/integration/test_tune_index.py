"""`anymodal tune-index`, in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.store.tuning import tune
from search.store.tuning.found import Trial, Tuned
from tests.integration.conftest import Run
from workers.commands.tune_index import _show


def test_a_folder_is_measured(here: Run, media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here("ingest", media / "texts")
    monkeypatch.setattr(tune, "LEAST_ROWS", 1)
    assert "HNSWW" in here("tune-index", "--index", "HNSWW", fails=2)
    (trial,) = here("tune-index")["trials"]
    assert (trial["index"], trial["recall"]) == ("scan", 1.0)


def test_a_terminal_gets_a_table_and_the_proposal(capsys: pytest.CaptureFixture[str]) -> None:
    trials = [Trial("HNSW", 64, 0.9925, 3.25, 5.0, 1680.0, built_s=2.0)]
    refused = {"HNSW_SQ": "The store (Milvus 2.3) cannot build the index HNSW_SQ: [unknown]."}
    settings = {"ANYMODAL_STORE__INDEX": "HNSW", "ANYMODAL_STORE__CANDIDATES": "200"}
    _show(Tuned("http://h", "2.3", 20, 1_000_000, trials, refused, 0.9, settings, ["Note this."]))
    shown = capsys.readouterr().out
    for part in ("HNSW", "0.993", "3.2", "1.68 GB", "0.900", "[unknown]", "Note this."):
        assert part in shown
    assert "ANYMODAL_STORE__CANDIDATES=200\n" in shown

"""The gate as a file, and the rarity in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from encoder.dsre.gatefile import GateFile
from encoder.dsre.idf import token_rarity
from encoder.dsre.settings import GateSettings, thresholds
from encoder.errors import InputError, ModelError

GATE = GateFile(
    token_rarity([[1, 2, 2], [1, 3]], 5), GateSettings(thresholds("I1", 6)), {"corpus": "two"}
)


def test_rarity_counts_texts_not_tokens() -> None:
    assert GATE.rarity.dtype == np.uint8
    assert GATE.rarity.tolist() == [255, 0, 94, 94, 255]


@pytest.mark.parametrize("texts", [[], [[1], [7]], [[-1]]])
def test_rarity_of_bad_texts(texts: list[list[int]]) -> None:
    with pytest.raises(InputError, match="Wanted"):
        token_rarity(texts, 5)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    GATE.save(tmp_path / "gate.npz")
    loaded = GateFile.load(tmp_path / "gate.npz")
    assert np.array_equal(loaded.rarity, GATE.rarity)
    assert (loaded.settings, loaded.facts) == (GATE.settings, GATE.facts)
    assert loaded.identity == GATE.identity
    assert [path.name for path in tmp_path.iterdir()] == ["gate.npz"]


def test_identity_follows_what_changes_an_embedding() -> None:
    assert replace(GATE, facts={}).identity == GATE.identity
    shifted = replace(GATE, settings=GateSettings(thresholds("I1", 6, shift=0.01)))
    assert shifted.identity != GATE.identity
    assert replace(GATE, rarity=GATE.rarity + np.uint8(1)).identity != GATE.identity


def test_a_file_that_is_no_gate(tmp_path: Path) -> None:
    path = tmp_path / "gate.npz"
    with pytest.raises(ModelError, match="dsre calibrate"):
        GateFile.load(path)
    path.write_bytes(b"PK not a zip")
    with pytest.raises(ModelError, match="dsre calibrate"):
        GateFile.load(path)
    np.savez(path, rarity=GATE.rarity, about=np.array('{"version": 99, "facts": {}}'))
    with pytest.raises(ModelError, match="version 99"):
        GateFile.load(path)

from pathlib import Path

import numpy as np
import pytest

from encoder.services.reader import read_characters, spell


def test_repeats_are_one_unless_nothing_is_between() -> None:
    best = np.array([1, 1, 0, 1, 2, 4, 4, 3, 0])
    sure = np.array([0.9, 0, 0, 0.8, 0.7, 0.9, 0, 0.7, 0], np.float32)
    text, confidence = spell(sure, best, ["", "a", "b", "c", " "])
    assert text == "aab c"
    assert confidence == pytest.approx(0.8)


def test_nothing_is_read_from_nothing() -> None:
    assert spell(np.ones(2, np.float32), np.zeros(2, np.int64), ["", "a"]) == ("", 0.0)


def test_characters_may_be_any_but_line_ends(tmp_path: Path) -> None:
    (tmp_path / "characters.txt").write_text("a\n\u3000\n\u2028\n", "utf-8")
    assert read_characters(tmp_path / "characters.txt") == ["", "a", "\u3000", "\u2028", " "]

from pathlib import Path

import numpy as np
import pytest

from encoder.ocr.spelling import read_characters, spell


def steps(*classes: int, sure: float = 0.8) -> np.ndarray:
    probabilities = np.full((len(classes), 5), (1 - sure) / 4, np.float32)
    probabilities[range(len(classes)), classes] = sure
    return probabilities


def test_repeats_are_one_unless_nothing_is_between() -> None:
    text, sure = spell(steps(1, 1, 0, 1, 2, 4, 4, 3, 0), ["", "a", "b", "c", " "])
    assert text == "aab c"
    assert sure == pytest.approx(0.8)


def test_nothing_is_read_from_nothing() -> None:
    assert spell(steps(0, 0), ["", "a", "b", "c", " "]) == ("", 0.0)


def test_characters_may_be_any_but_line_ends(tmp_path: Path) -> None:
    (tmp_path / "characters.txt").write_text("a\n\u3000\n\u2028\n", "utf-8")
    assert read_characters(tmp_path / "characters.txt") == ["", "a", "\u3000", "\u2028", " "]

"""The text of a file, as it was read."""

from __future__ import annotations

import numpy as np
import pytest

from encoder.types import AUDIO, TEXT, Modality
from search.api.responses.passages import passages_json, passages_of, window
from search.types import SegmentRow

TEXT_READ = "One two three. Four five six. Seven eight."


def segment(
    index: int, start: int, end: int, modality: Modality = TEXT, row: int = 0
) -> SegmentRow:
    return SegmentRow(
        f"s{index}",
        "a",
        modality,
        index,
        np.zeros(2, np.float32),
        char_start=start,
        char_end=end,
        snippet=TEXT_READ[start:end] if modality == TEXT else "",
        place='{"page": 1}',
        row=row,
    )


ROWS = [segment(2, 19, 42), segment(0, 0, 14), segment(1, 8, 29), segment(0, 0, 14, row=1)]


def test_passages_come_in_the_order_of_the_file_and_repeat_nothing() -> None:
    passages = passages_of([*ROWS, segment(3, 0, 0, AUDIO)])
    shown = passages_json(passages, 0, 3)
    assert [one["segment_id"] for one in shown] == ["s0", "s1", "s2"]
    assert "".join(one["text"] for one in shown) == TEXT_READ
    assert shown[0]["place"] == {"page": 1}
    assert passages_json(passages, 1, 2)[0]["text"] == " Four five six."


def test_what_only_seems_to_be_shared_is_kept() -> None:
    moved = [segment(0, 0, 14), segment(1, 5, 29)]
    other = SegmentRow("s1", "a", TEXT, 1, moved[1].embedding, char_start=5, snippet="Five more.")
    texts = [one["text"] for one in passages_json([moved[0], other], 0, 2)]
    assert texts == ["One two three.", "Five more."]


@pytest.mark.parametrize(
    ("around", "start", "shown"),
    [
        ("", 0, (0, 10)),
        ("", 95, (95, 100)),
        ("s50", 0, (45, 55)),
        ("s1", 7, (0, 10)),
        ("s99", 0, (90, 100)),
        ("gone", 3, (3, 13)),
    ],
)
def test_a_passage_is_in_the_middle(around: str, start: int, shown: tuple[int, int]) -> None:
    passages = [segment(index, 0, 3) for index in range(100)]
    assert window(passages, around, start, 10) == shown

from itertools import pairwise

import numpy as np

from ingest.split import split_sound, split_text

SENTENCE = "The quick brown fox jumps over the lazy dog near the river. "


def test_short_text_is_one_window() -> None:
    assert split_text("  A short text.\n", 800, 120) == [(2, 15)]


def test_windows_end_with_sentences_and_overlap() -> None:
    text = SENTENCE * 60
    spans = split_text(text, 800, 120)
    windows = [text[start:end] for start, end in spans]
    assert all(window.startswith("The") and window.endswith("river.") for window in windows)
    assert all(60 <= before.end - after.start <= 120 for before, after in pairwise(spans))
    assert min(map(len, windows)) > 100


def test_a_heading_stays_with_its_paragraph() -> None:
    text = "Foxes\n\n" + SENTENCE * 12
    assert split_text(text, 800, 120)[0].start == 0
    assert split_text(text, 800, 120)[0].end > 500


def test_offsets_count_characters_and_not_bytes() -> None:
    text = "🎬 Ünïcödé. " * 200
    for start, end in split_text(text, 100, 20):
        assert text[start:end].startswith("🎬")
        assert text[start:end].endswith(".")


def test_a_long_line_is_split_in_linear_time() -> None:
    spans = split_text("x" * 1_000_000, 800, 120)  # minutes without blocks
    assert spans[0] == (0, 800)
    assert spans[-1].end == 1_000_000


def test_a_short_rest_of_sound_joins_the_window_before() -> None:
    for total, lengths in {49: [49], 109: [109], 110: [100, 10], 205: [100, 105], 0: []}.items():
        windows = split_sound([np.zeros(total, np.float32)], 100, 10)
        assert [len(window) for _, window in windows] == lengths

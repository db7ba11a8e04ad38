"""Windows of text and sound, frames that differ, and reading ahead in time."""

import threading
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest

from encoder.errors import MediaLimitError
from encoder.types import TEXT
from ingest import IngestConfig, Segment
from ingest.dedup import Rgb, keep_frames
from ingest.kinds import reading
from ingest.kinds.film import ahead
from ingest.kinds.reading import Clock, timed
from ingest.split import split_text
from tests.support.media import picture

SENTENCE = "The quick brown fox jumps over the lazy dog near the river. "


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


CONFIG = IngestConfig()


def spans(frames: list[Rgb], end_s: float = 0.0) -> list[tuple[float, float]]:
    timed = ((i * 0.5, rgb) for i, rgb in enumerate(frames))
    return [(frame.start_s, frame.end_s) for frame in keep_frames(timed, end_s, CONFIG)]


def test_without_a_known_end_the_last_look_is_the_end() -> None:
    assert spans([picture()] * 5) == [(0.0, 2.0)]


def test_a_cut_is_kept_at_once() -> None:
    red, blue = np.full((90, 160, 3), (200, 0, 0), np.uint8), np.full((90, 160, 3), 20, np.uint8)
    assert spans([red, red, blue, blue, red], 2.5) == [(0.0, 1.0), (1.0, 2.0), (2.0, 2.5)]


def test_motion_is_kept_once_per_interval() -> None:
    wide = picture(3000, 300)
    moving = [wide[:, i * 40 : i * 40 + 400] for i in range(17)]
    kept = spans(moving, 8.5)
    assert 4 <= len(kept) <= 9
    assert kept[0][0] == 0.0
    assert kept[-1][1] == 8.5


def test_an_error_is_raised_after_the_values_before_it() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    values = ahead(failing(), 3)
    assert next(values) == 1
    with pytest.raises(ValueError, match="broken"):
        next(values)


def test_it_stays_within_its_depth() -> None:
    made: list[int] = []
    full = threading.Event()

    def count() -> Iterator[int]:
        for i in range(100):
            made.append(i)
            if i == 3:  # one was taken, three wait
                full.set()
            yield i

    values = ahead(count(), 3)
    assert next(values) == 0
    assert full.wait(60)
    values.close()
    assert made == [0, 1, 2, 3]


def test_time_is_what_it_plays_and_then_some() -> None:
    clock = Clock("a.mp4", IngestConfig(max_decode_s=10), plays_s=5)
    clock.spend(14)
    assert clock.left_s == 1
    clock.has_played(7)
    assert clock.left_s == 3
    with pytest.raises(
        MediaLimitError, match=r"a\.mp4 .* max_decode_s is 10 s, and it plays for 7 s"
    ):
        clock.spend(4)


def test_only_the_decoder_spends_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0
    monkeypatch.setattr(reading, "perf_counter", lambda: now_s)

    def slow(seconds: float) -> Iterator[Segment]:
        nonlocal now_s
        for index in range(2):
            now_s += seconds
            yield Segment("a", TEXT, index, "x")

    config = IngestConfig(max_decode_s=10)
    for _ in timed(slow(0), Clock("a.txt", config)):
        now_s += 11
    with pytest.raises(MediaLimitError):
        list(timed(slow(6), Clock("a.txt", config)))

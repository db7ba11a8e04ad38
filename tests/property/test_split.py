from itertools import pairwise

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from ingest.config import IngestConfig
from ingest.dedup import color_histogram, dhash, hash_distance, histogram_change, keep_frames
from ingest.split import split_sound, split_text
from tests.support.media import picture

sentences = st.lists(
    st.sampled_from(
        [
            "A cat sat.",
            "Und dann?",
            "# Heading\n",
            "\n\n",
            "猫がいます。",
            "🎬🎬 ",
            "x" * 90,
            " \t",
            "\r\n",
        ]
    )
    | st.text(max_size=40),
    max_size=80,
).map(" ".join)


@given(
    text=sentences, window=st.integers(50, 300), overlap=st.integers(0, 200), markdown=st.booleans()
)
@example(text="", window=50, overlap=10, markdown=False)
@example(text=" \n ", window=50, overlap=10, markdown=True)
@example(text="\x1f", window=50, overlap=0, markdown=False)
@example(text="x" * 90 + " \n0 # Heading\n A cat sat.", window=103, overlap=11, markdown=True)
@example(text="word " * 9_000, window=200, overlap=30, markdown=False)
def test_text_windows_cover_the_text_within_bounds(
    text: str, window: int, overlap: int, markdown: bool
) -> None:
    spans = split_text(text, window, overlap, markdown=markdown)
    covered = np.zeros(len(text), int)
    for start, end in spans:
        assert 0 <= start < end <= len(text)
        assert end - start <= window
        assert text[start:end].strip()
        covered[start:end] += 1
    missing = "".join(c for c, n in zip(text, covered, strict=True) if not n)
    assert not missing.strip()
    for before, after in pairwise(spans):
        assert before.start < after.start
        assert before.end < after.end
        assert before.end - after.start <= overlap


@given(
    lengths=st.lists(st.integers(0, 40), max_size=30),
    window=st.integers(1, 50),
    tail_share=st.floats(0, 1),
)
def test_sound_windows_are_the_sound(lengths: list[int], window: int, tail_share: float) -> None:
    total, tail = sum(lengths), int(window * tail_share)
    sound = np.arange(total, dtype=np.float32)
    cuts = np.cumsum([0, *lengths])
    windows = list(split_sound((sound[a:b] for a, b in pairwise(cuts)), window, tail))
    np.testing.assert_array_equal(np.concatenate([w for _, w in windows] or [sound]), sound)
    assert [start for start, _ in windows] == [i * window for i in range(len(windows))]
    assert all(len(w) == window for _, w in windows[:-1])
    if windows:
        last = len(windows[-1][1])
        assert last < window + max(tail, 1)
        assert last >= tail or len(windows) == 1


seeds = st.integers(0, 10_000)
sizes = st.integers(1, 120)


@given(seeds, sizes, sizes)
def test_hash_and_histogram_take_any_size(seed: int, width: int, height: int) -> None:
    rgb = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert 0 <= dhash(rgb) < 2**64
    np.testing.assert_allclose(color_histogram(rgb).sum(), 1)


@given(seeds, st.integers(-12, 12))
def test_hash_hardly_changes_with_light_and_scale(seed: int, light: int) -> None:
    rgb = picture(360, 270, seed)
    lit = np.clip(rgb.astype(int) + light, 0, 255).astype(np.uint8)
    assert hash_distance(dhash(rgb), dhash(lit)) <= 5
    # Averaged as a scaler does: every second pixel alone lies half a pixel off.
    half = np.array(Image.fromarray(rgb).resize((180, 135), Image.Resampling.BOX))
    assert hash_distance(dhash(rgb), dhash(half)) <= 5


@given(seeds, seeds)
def test_distance_is_a_metric_on_hashes(a: int, b: int) -> None:
    x, y = dhash(picture(90, 80, a)), dhash(picture(90, 80, b))
    assert hash_distance(x, x) == 0
    assert hash_distance(x, y) == hash_distance(y, x) <= 64
    one, two = color_histogram(picture(90, 80, a)), color_histogram(picture(90, 80, b))
    assert 0 <= histogram_change(one, two) <= 1
    assert histogram_change(one, one) == 0


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40))
def test_kept_frames_cover_the_film_without_a_gap(scenes: list[int]) -> None:
    frames = [(i * 0.5, picture(60, 50, seed)) for i, seed in enumerate(scenes)]
    end_s = len(frames) * 0.5
    kept = list(keep_frames(iter(frames), end_s, IngestConfig()))
    assert kept[0].start_s == 0
    assert kept[-1].end_s == end_s
    assert all(before.end_s == after.start_s for before, after in pairwise(kept))
    assert len(kept) <= 1 + sum(a != b for a, b in pairwise(scenes))

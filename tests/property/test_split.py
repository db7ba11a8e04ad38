from itertools import pairwise

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingest.split import split_sound, split_text

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


@settings(deadline=None)
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


@settings(deadline=None)
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

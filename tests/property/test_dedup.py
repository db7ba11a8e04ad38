from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ingest.config import IngestConfig
from ingest.dedup import color_histogram, dhash, hash_distance, histogram_change, keep_frames
from tests.support.media import picture

seeds = st.integers(0, 10_000)
sizes = st.integers(1, 120)


@settings(deadline=None)
@given(seeds, sizes, sizes)
def test_hash_and_histogram_take_any_size(seed: int, width: int, height: int) -> None:
    rgb = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert 0 <= dhash(rgb) < 2**64
    np.testing.assert_allclose(color_histogram(rgb).sum(), 1)


@settings(deadline=None)
@given(seeds, st.integers(-12, 12))
def test_hash_hardly_changes_with_light_and_scale(seed: int, light: int) -> None:
    rgb = picture(360, 270, seed)
    lit = np.clip(rgb.astype(int) + light, 0, 255).astype(np.uint8)
    assert hash_distance(dhash(rgb), dhash(lit)) <= 5
    # Averaged as a scaler does: every second pixel alone lies half a pixel off.
    half = np.array(Image.fromarray(rgb).resize((180, 135), Image.Resampling.BOX))
    assert hash_distance(dhash(rgb), dhash(half)) <= 5


@settings(deadline=None)
@given(seeds, seeds)
def test_distance_is_a_metric_on_hashes(a: int, b: int) -> None:
    x, y = dhash(picture(90, 80, a)), dhash(picture(90, 80, b))
    assert hash_distance(x, x) == 0
    assert hash_distance(x, y) == hash_distance(y, x) <= 64
    one, two = color_histogram(picture(90, 80, a)), color_histogram(picture(90, 80, b))
    assert 0 <= histogram_change(one, two) <= 1
    assert histogram_change(one, one) == 0


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=40))
def test_kept_frames_cover_the_film_without_a_gap(scenes: list[int]) -> None:
    frames = [(i * 0.5, picture(60, 50, seed)) for i, seed in enumerate(scenes)]
    end_s = len(frames) * 0.5
    kept = list(keep_frames(iter(frames), end_s, IngestConfig()))
    assert kept[0].start_s == 0
    assert kept[-1].end_s == end_s
    assert all(before.end_s == after.start_s for before, after in pairwise(kept))
    assert len(kept) <= 1 + sum(a != b for a, b in pairwise(scenes))

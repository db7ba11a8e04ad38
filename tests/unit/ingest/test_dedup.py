import numpy as np
import pytest

from ingest.config import IngestConfig
from ingest.dedup import Rgb, color_histogram, histogram_change, keep_frames
from tests.support.media import picture

CONFIG = IngestConfig()


def spans(frames: list[Rgb], end_s: float = 0.0) -> list[tuple[float, float]]:
    timed = ((i * 0.5, rgb) for i, rgb in enumerate(frames))
    return [(frame.start_s, frame.end_s) for frame in keep_frames(timed, end_s, CONFIG)]


def test_histogram_change_is_the_share_of_pixels() -> None:
    red, mixed = np.zeros((96, 96, 3), np.uint8), np.zeros((96, 96, 3), np.uint8)
    red[..., 0] = mixed[..., 0] = 255
    mixed[:, :24] = (0, 0, 255)
    assert histogram_change(color_histogram(red), color_histogram(mixed)) == pytest.approx(0.25)


def test_a_still_is_kept_once_and_covers_its_time() -> None:
    assert spans([picture()] * 40, end_s=21.0) == [(0.0, 21.0)]


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


def test_no_frames() -> None:
    assert spans([]) == []

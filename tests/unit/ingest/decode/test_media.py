import logging
import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from encoder.errors import CorruptMediaError, MediaLimitError
from encoder.types import Waveform
from ingest import IngestConfig, Segment, identify, segments
from tests.support.media import COLORS, picture, tone, write_film

CONFIG = IngestConfig()


def decode(path: Path, config: IngestConfig = CONFIG) -> list[Segment]:
    return list(segments(identify(path, config), config))


def test_a_picture_is_one_segment_without_times(tmp_path: Path) -> None:
    Image.fromarray(picture(1000, 800)).save(tmp_path / "a.jpg")
    (segment,) = decode(tmp_path / "a.jpg")
    assert (segment.modality, segment.index) == ("image", 0)
    assert segment.content.shape == (512, 640, 3)
    assert segment.content.dtype == np.uint8
    assert (segment.start_s, segment.end_s, segment.char_start) == (None, None, None)


def test_sound_comes_in_windows_of_five_seconds(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", tone(12.5, 32_000), 32_000)
    found = decode(tmp_path / "a.flac")
    assert [(round(s.start_s or 0, 3), round(s.end_s or 0, 3)) for s in found] == [
        (0, 5),
        (5, 10),
        (10, 12.5),
    ]
    for segment in found:
        sound = segment.content
        assert isinstance(sound, Waveform)
        assert sound.sampling_rate == 44_100
        assert sound.samples.dtype == np.float32
        assert segment.end_s == pytest.approx((segment.start_s or 0) + sound.duration_s)


@pytest.mark.parametrize(("seconds", "ends"), [(10.9, [5, 10.9]), (11, [5, 10, 11]), (0.3, [0.3])])
def test_a_short_tail_joins_the_window_before(
    tmp_path: Path, seconds: float, ends: list[float]
) -> None:
    soundfile.write(tmp_path / "a.wav", tone(seconds), 44_100)
    assert [s.end_s for s in decode(tmp_path / "a.wav")] == pytest.approx(ends)


def test_a_sound_that_is_not_numbers_fails_while_decoding(tmp_path: Path) -> None:
    samples = tone(20)
    samples[-100] = np.nan
    soundfile.write(tmp_path / "a.wav", samples, 44_100, subtype="FLOAT")
    with pytest.raises(CorruptMediaError, match="not finite"):
        decode(tmp_path / "a.wav")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov", "a.webm"])
def test_a_film_is_frames_and_sound(tmp_path: Path, name: str) -> None:
    codecs = ("libvpx-vp9", "libopus") if name == "a.webm" else ("libx264", "aac")
    path = write_film(tmp_path / name, *codecs, seconds=6)
    found = decode(path)
    frames = [s for s in found if s.modality == "image"]
    sounds = [s for s in found if s.modality == "audio"]
    assert [s.index for s in frames] == [0, 1, 2]
    assert [s.start_s for s in frames] == pytest.approx([0, 2, 4], abs=0.11)
    assert [s.index for s in sounds] == [0, 1]
    assert [s.start_s for s in sounds] == [0, 5]
    assert frames[-1].end_s == pytest.approx(6, abs=0.1)
    assert all(a.end_s == b.start_s for a, b in pairwise(frames))
    for frame, color in zip(frames, COLORS, strict=True):
        np.testing.assert_allclose(frame.content.mean(axis=(0, 1)), color, atol=14)
    assert {s.asset_id for s in found} == {identify(path, CONFIG).asset_id}
    starts = [s.start_s or 0 for s in found]
    assert starts == sorted(starts)


def test_a_silent_film(tmp_path: Path) -> None:
    found = decode(write_film(tmp_path / "a.mp4", sound_codec=None))
    assert {s.modality for s in found} == {"image"}


def test_a_film_with_damaged_sound_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_film(tmp_path / "a.mkv", sound_codec="pcm_f32le")
    data = path.read_bytes()
    loud = np.float32(0.3 * np.sin(2 * np.pi * 440 * 100 / 48_000)).tobytes()
    assert loud in data
    path.write_bytes(data.replace(loud, np.float32(np.nan).tobytes()))
    with caplog.at_level(logging.WARNING, "ingest"):
        found = decode(path)
    assert "image" in {s.modality for s in found}
    assert "sound track left out" in caplog.text


def test_limits_hold_while_a_film_is_decoded(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.mp4")
    with pytest.raises(MediaLimitError, match="max_frames is 2 frames"):
        decode(path, IngestConfig(max_frames=2))


@pytest.mark.moderate
def test_a_film_left_early_leaves_no_thread(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.mp4", seconds=12)
    stream = segments(identify(path, CONFIG), CONFIG)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert not [t for t in threading.enumerate() if t.name == "decode-ahead"]

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from encoder.errors import InputError
from encoder.inputs import AudioFormat, read_argument
from encoder.types import Clip, Waveform
from tests.support.media import picture, write_heic

SOUND = AudioFormat()
GREY = np.zeros((4, 5), np.uint8)
RGB = np.zeros((4, 5, 3), np.uint8)


def read(name: str, value: Any, audio: AudioFormat = SOUND) -> Any:
    return read_argument(name, value, audio).items[0].content


@pytest.mark.parametrize(
    "image",
    [
        GREY,
        GREY[:, :, None],
        RGB,
        np.zeros((4, 5, 4), np.uint8),
        RGB.astype(np.float32),
        GREY.astype(bool),
        Image.fromarray(RGB),
        Image.fromarray(GREY),
    ],
)
def test_any_image_becomes_rgb(image: Any) -> None:
    pixels = read("image", image)
    assert pixels.shape == (4, 5, 3)
    assert pixels.dtype == np.uint8


def test_transparent_pixels_become_white() -> None:
    assert (read("image", np.zeros((2, 2, 4), np.uint8)) == 255).all()


def test_float_images_keep_their_brightness() -> None:
    assert (read("image", np.full((2, 2, 3), 0.5)) == 128).all()


def test_an_image_file_is_decoded(tmp_path: Path) -> None:
    Image.new("RGB", (5, 4), (255, 0, 0)).save(tmp_path / "red.png")
    assert (read("image", tmp_path / "red.png")[0, 0] == [255, 0, 0]).all()
    assert read("image", str(tmp_path / "red.png")).shape == (4, 5, 3)
    photo = write_heic(tmp_path / "photo.heic", picture(300, 200), 6, 128)
    assert read("image", photo).shape == (300, 200, 3)


def test_four_axes_are_a_list_of_images() -> None:
    batch = read_argument("image", np.zeros((7, 4, 5, 3), np.uint8), SOUND)
    assert len(batch.items) == 7
    assert not batch.single


def test_sound_becomes_mono_float32() -> None:
    for samples in (
        np.full(100, 0.5),
        np.full((2, 100), 0.5, np.float32),
        np.full((100, 2), 0.5),
        np.full(100, 2**14, np.int16),
    ):
        heard = read("audio", samples)
        assert heard.samples.shape == (100,)
        assert heard.samples.dtype == np.float32
        assert np.allclose(heard.samples, 0.5)
        assert heard.sampling_rate == 16_000


def test_a_waveform_keeps_its_rate() -> None:
    assert read("audio", Waveform(np.zeros(9, np.float32), 8000)).sampling_rate == 8000


def test_a_spectrogram_becomes_its_sound_on_request() -> None:
    heard = read("audio", np.ones((128, 50)), AudioFormat(22_050, "spectrogram"))
    assert isinstance(heard, Waveform)
    assert (heard.sampling_rate, len(heard.samples)) == (22_050, 49 * 512)


@pytest.mark.parametrize("shape", [(1, 5), (2, 32), (2, 100), (6, 8192), (16, 48_000), (32, 32768)])
def test_channels_may_come_first_or_last(shape: tuple[int, int]) -> None:
    samples = np.zeros(shape)
    samples[0] = 0.5
    for array in (samples, samples.T):
        heard = read("audio", array).samples
        np.testing.assert_allclose(heard, np.full(shape[1], 0.5 / shape[0]), rtol=1e-6)


@pytest.mark.parametrize("shape", [(128, 32), (32, 128), (13, 500), (12, 900), (6, 500), (2, 20)])
def test_what_looks_like_a_spectrogram_is_no_sound(shape: tuple[int, int]) -> None:
    for array in (np.zeros(shape), np.zeros(shape, np.float32).T, np.zeros(shape, np.int16)):
        with pytest.raises(InputError, match='audio_kind="spectrogram"') as caught:
            read("audio", array)
        assert str(array.shape) in caught.value.got
        assert "[channels, n]" in caught.value.wanted


def test_video_frames_with_sound() -> None:
    frames = np.zeros((3, 4, 5, 3), np.uint8)
    clip = read("video", (frames, np.zeros(100)))
    assert isinstance(clip, Clip)
    assert clip.sound is not None
    assert read("video", frames).sound is None


NAN = np.array([0.0, np.nan])


@pytest.mark.parametrize(
    ("name", "value", "label", "got", "wanted"),
    [
        ("text", "", "text", "empty text", "visible"),
        ("text", 5, "text", "int", "str"),
        ("text", ["a", None], "text[1]", "NoneType", "str"),
        ("text", [], "text", "empty list", "at least one"),
        ("image", np.zeros((3, 40, 50), np.uint8), "image", "(3, 40, 50)", "channels last"),
        ("image", np.zeros((0, 5, 3), np.uint8), "image", "(0, 5, 3)", "height"),
        ("image", np.zeros((4, 5, 3), np.int64), "image", "int64", "uint8"),
        ("image", np.full((4, 5, 3), 200.0), "image", "200", "0..1"),
        ("image", np.full((4, 5, 3), np.nan), "image", "60 values", "none"),
        ("image", [RGB, "nowhere.png"], "image[1]", "nowhere.png", "file"),
        ("image", object(), "image", "object", "array"),
        ("audio", np.zeros(0), "audio", "(0,)", "at least one"),
        ("audio", NAN, "audio", "1 values that are NaN", "none"),
        ("audio", np.zeros((96, 200)), "audio", "(96, 200)", 'audio_kind="spectrogram"'),
        ("audio", np.full(10, 20_000.0), "audio", "2e+04", "[-1, 1]"),
        ("audio", np.zeros(4, np.complex64), "audio", "complex64", "float"),
        ("audio", "nowhere.wav", "audio", "nowhere.wav", "file"),
        ("video", np.zeros((4, 5, 3), np.uint8), "video frames", "(4, 5, 3)", "[n, height"),
        ("video", 3, "video frames", "int", "path"),
    ],
)
def test_errors_name_the_argument_what_came_and_what_is_wanted(
    name: str, value: Any, label: str, got: str, wanted: str
) -> None:
    with pytest.raises(InputError) as caught:
        read_argument(name, value, SOUND)
    assert caught.value.argument == label
    assert got in caught.value.got
    assert wanted in caught.value.wanted


def test_wrong_formats() -> None:
    with pytest.raises(InputError, match="audio_kind"):
        AudioFormat(kind="mfcc")
    with pytest.raises(InputError, match="0 Hz"):
        AudioFormat(sampling_rate=0)

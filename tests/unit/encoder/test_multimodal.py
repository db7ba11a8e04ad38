from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from encoder import InputError, Item, ModelError, MultiModalEncoder
from encoder.config import EncoderConfig
from encoder.inputs import AudioFormat, read_argument
from encoder.space import l2_normalize
from encoder.towers.dispatch import bucket_by_length, scatter
from encoder.types import TEXT, Clip, Embeddings, Modality, Waveform
from tests.support.media import picture, write_heic

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (60, 80, 3), dtype=np.uint8)
SOUND = RNG.normal(0, 0.1, 16_000).astype(np.float32)


@pytest.fixture(scope="module")
def encoder(bundle_home: Path) -> MultiModalEncoder:
    assert bundle_home.is_dir()
    return MultiModalEncoder(quantization=None, enable_dsre=False)


def is_unit(rows: Embeddings) -> bool:
    return rows.dtype == np.float32 and np.allclose(np.linalg.norm(rows, axis=-1), 1, atol=1e-5)


@pytest.mark.slow
def test_one_call_for_any_combination(encoder: MultiModalEncoder) -> None:
    e = encoder.encode_multimodal(text="A cat sitting on a mat", image=IMAGE, audio=SOUND)

    assert e.video is None
    for embedding in (e.text, e.image, e.audio, e.fused):
        assert embedding.shape == (384,)
        assert is_unit(embedding)
    assert np.allclose(e.fused, l2_normalize(e.text + e.image + e.audio), atol=1e-6)


def test_lists_give_rows_and_single_values_join_each(encoder: MultiModalEncoder) -> None:
    e = encoder.encode_multimodal(text=["a", "b", "c"], image=IMAGE)
    assert e["text"].shape == (3, 384)
    assert e["image"].shape == (384,)
    assert e.fused.shape == (3, 384)
    assert is_unit(e.fused)


def test_lists_of_different_lengths_cannot_be_fused(encoder: MultiModalEncoder) -> None:
    e = encoder.encode_multimodal(text=["a", "b"], image=[IMAGE, IMAGE, IMAGE])
    with pytest.raises(InputError, match="text 2, image 3"):
        _ = e.fused


def test_video_is_its_frames_and_its_sound(encoder: MultiModalEncoder) -> None:
    frames = np.stack([IMAGE, 255 - IMAGE])
    both = encoder.encode_multimodal(video=(frames, SOUND)).video
    silent = encoder.encode_multimodal(video=frames).video
    alone = encoder.encode_multimodal(image=[IMAGE, 255 - IMAGE], audio=SOUND)
    assert np.allclose(silent, l2_normalize(alone["image"].mean(axis=0)), atol=1e-5)
    expected = l2_normalize(alone["image"].mean(axis=0) + alone["audio"])
    assert np.allclose(both, expected, atol=1e-5)


@pytest.mark.slow
def test_threads_are_started_only_where_they_help(
    encoder: MultiModalEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Queries come in small batches, and a busy server waits for each thread that it starts."""
    started: list[threading.Thread] = []
    start = threading.Thread.start

    def noted_start(thread: threading.Thread) -> None:
        if not thread.name.startswith("runs"):  # those of a network are started once
            started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", noted_start)
    encoder.encode_multimodal(text=["a red car", "rain on a tin roof"])
    assert not started
    encoder.encode_multimodal(text=["a red car " * 300, "rain on a tin roof " * 300])
    assert started


def test_mixed_items_come_back_in_order(encoder: MultiModalEncoder) -> None:
    items = [
        Item(Modality("audio"), Waveform(SOUND, 16_000)),
        Item(TEXT, "rain"),
        Item(Modality("image"), IMAGE),
        Item(TEXT, "snow"),
    ]
    rows = encoder.encode_items(items)
    e = encoder.encode_multimodal(text=["rain", "snow"], image=IMAGE, audio=SOUND)
    expected = np.stack([e["audio"], e["text"][0], e["image"], e["text"][1]])
    assert (rows * expected).sum(axis=1).min() > 0.9999


def test_nothing_to_encode(encoder: MultiModalEncoder) -> None:
    with pytest.raises(InputError, match="no content"):
        encoder.encode_multimodal()
    assert encoder.encode_items([]).shape == (0, 384)


def test_an_unknown_modality_is_named(encoder: MultiModalEncoder) -> None:
    with pytest.raises(InputError, match=r"smell.*audio, image, text, video"):
        encoder.encode_multimodal(smell="roses")


def test_a_gate_of_a_hub_model_is_a_file() -> None:
    with pytest.raises(ModelError, match="neither a known setting nor a file"):
        MultiModalEncoder("hf:org/name", enable_dsre="gate.npz")


class Heard:
    """An observer that writes down what it hears."""

    def __init__(self) -> None:
        self.loads: list[str] = []
        self.batches: list[tuple[str, list[int]]] = []

    def loaded(self, part: str, seconds: float) -> None:
        assert seconds > 0
        self.loads.append(part)

    def encoded(self, modality: str, lengths: Sequence[int], kept: int) -> None:
        assert kept == sum(lengths)  # dense
        self.batches.append((modality, list(lengths)))


@pytest.mark.slow
@pytest.mark.usefixtures("bundle_home")
def test_an_observer_sees_loads_and_batches() -> None:
    heard = Heard()
    encoder = MultiModalEncoder(
        config=EncoderConfig(batch_items=2), observer=heard, quantization=None, enable_dsre=False
    )
    assert heard.loads == ["model"]
    encoder.encode_multimodal(text=["a", "a red car stands here", "a red car"], image=IMAGE)
    encoder.encode_multimodal(text="again")
    assert heard.loads[0] == "model"
    assert sorted(heard.loads[1:]) == ["image", "text"]  # side by side
    assert [lengths for modality, lengths in heard.batches if modality == "text"] == [
        [3, 5],  # with the first and the last token of a sentence
        [7],
        [3],
    ]
    assert [len(lengths) for modality, lengths in heard.batches if modality == "image"] == [1]


lengths = st.lists(st.integers(1, 500), max_size=60)


@given(lengths, st.integers(1, 16), st.integers(1, 600))
def test_every_index_comes_once_and_limits_hold(
    lengths: list[int], max_items: int, max_tokens: int
) -> None:
    batches = list(bucket_by_length(lengths, max_items=max_items, max_tokens=max_tokens))

    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        padded = len(batch) * max(lengths[i] for i in batch)
        assert len(batch) <= max_items
        assert padded <= max_tokens or len(batch) == 1


def test_scatter_restores_the_order() -> None:
    rows = np.eye(6, dtype=np.float32).reshape(3, 2, 6)
    parts = [([2, 0], rows[[2, 0]]), ([1], rows[[1]])]
    assert np.array_equal(scatter(parts, 3, 2, 6), rows)


STEREO = AudioFormat()
GREY = np.zeros((4, 5), np.uint8)
RGB = np.zeros((4, 5, 3), np.uint8)


def read(name: str, value: Any, audio: AudioFormat = STEREO) -> Any:
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


def test_steps_with_a_bar_give_the_same(encoder: MultiModalEncoder) -> None:
    texts = [f"note {number}" for number in range(70)]
    whole = encoder.encode_multimodal(text=texts)
    steps = encoder.encode_multimodal(text=iter(texts), progress=True)
    assert np.allclose(steps.text, whole.text, atol=1e-5)


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
    batch = read_argument("image", np.zeros((7, 4, 5, 3), np.uint8), STEREO)
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
        ("image", np.zeros((5, 40, 50), np.uint8), "image", "(5, 40, 50)", "[1 | 3 | 4, height"),
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
        read_argument(name, value, STEREO)
    assert caught.value.argument == label
    assert got in caught.value.got
    assert wanted in caught.value.wanted


def test_wrong_formats() -> None:
    with pytest.raises(InputError, match="audio_kind"):
        AudioFormat(kind="mfcc")
    with pytest.raises(InputError, match="0 Hz"):
        AudioFormat(sampling_rate=0)

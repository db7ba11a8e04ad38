"""Arguments as notebooks hold them: columns, generators, tensors, sounds with their rates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from PIL import Image

from encoder import InputError
from encoder.inputs import AudioFormat, read_argument

STEREO = AudioFormat()
SOUND = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)


def read(name: str, value: Any) -> Any:
    return read_argument(name, value, STEREO).items[0].content


TEXTS = ["a dog", "ein Hund", "狗"]


@pytest.mark.parametrize(
    "texts",
    [
        TEXTS,
        tuple(TEXTS),
        (text for text in TEXTS),
        dict.fromkeys(TEXTS).keys(),
        np.array(TEXTS),
        np.array(TEXTS, object),
        pd.Series(TEXTS, index=[7, 8, 9]),
        pd.DataFrame({"text": TEXTS})["text"],
    ],
)
def test_many_texts_come_as_notebooks_hold_them(texts: Any) -> None:
    argument = read_argument("text", texts, STEREO)
    assert not argument.single
    assert [item.content for item in argument.items] == TEXTS


def test_a_set_has_no_order_to_return_embeddings_in() -> None:
    with pytest.raises(InputError, match="text: got a set"):
        read_argument("text", set(TEXTS), STEREO)


def test_a_missing_text_of_a_column_is_named() -> None:
    with pytest.raises(InputError, match=r"text\[1\]: got a float"):
        read_argument("text", pd.Series(["a dog", float("nan")]), STEREO)


def test_channels_may_come_first() -> None:
    pixels = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    first = torch.from_numpy(pixels).permute(2, 0, 1)
    assert (read("image", first) == pixels).all()
    assert (read("image", first.numpy()) == pixels).all()
    assert (read("image", first.float() / 255) == pixels).all()
    batch = read_argument("image", torch.stack([first, first]), STEREO)
    assert (batch.single, [item.content.shape for item in batch.items]) == (False, [(4, 5, 3)] * 2)


def test_pictures_come_as_a_column_of_paths(tmp_path: Path) -> None:
    paths = [tmp_path / f"{colour}.png" for colour in ("red", "blue")]
    for path in paths:
        Image.new("RGB", (5, 4), path.stem).save(path)
    argument = read_argument("image", pd.Series(map(str, paths)), STEREO)
    assert [item.content[0, 0].tolist() for item in argument.items] == [[255, 0, 0], [0, 0, 255]]


@pytest.mark.filterwarnings("ignore:.*slated for removal:DeprecationWarning")  # by audioread
def test_sound_comes_with_its_rate(tmp_path: Path) -> None:
    stereo = np.stack([SOUND, 0.5 * SOUND], axis=1)
    soundfile.write(tmp_path / "stereo.wav", stereo, 22_050, "FLOAT")
    by_soundfile = soundfile.read(tmp_path / "stereo.wav")
    by_librosa = librosa.load(tmp_path / "stereo.wav", sr=None)
    for pair in (by_soundfile, by_librosa):
        heard = read("audio", pair)
        assert heard.sampling_rate == 22_050
        assert heard.samples == pytest.approx(0.75 * SOUND, abs=1e-6)
    both = read_argument("audio", [by_soundfile, by_librosa], STEREO)
    assert [item.content.sampling_rate for item in both.items] == [22_050, 22_050]
    two = read_argument("audio", (SOUND, SOUND), STEREO)  # a tuple of sounds, as before
    assert len(two.items) == 2

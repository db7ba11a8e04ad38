"""What is heard, patch by patch, by the real network."""

from __future__ import annotations

import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soxr

from encoder.errors import ModelError
from encoder.models.bundle.kinds import FLOAT
from encoder.onnx.yamnet import lay_yamnet
from encoder.runtime.onnx import OnnxSession
from encoder.services.sound_classes import SPEECH, SoundClasses
from encoder.system.cache import cache_home
from encoder.types import Waveform
from examples.speech import Speaker

RATE = 44_100
MUSIC = 132
PINK_OR_WHITE_NOISE = slice(513, 517)


@pytest.fixture(scope="module")
def classes(bundle_home: Path) -> SoundClasses:
    return SoundClasses(partial(OnnxSession, bundle_home / "sounds" / FLOAT, n_threads=1))


def test_each_patch_says_what_is_heard_in_it(classes: SoundClasses) -> None:
    speaker = Speaker(cache_home())
    said = soxr.resample(
        speaker.say("The children are building a castle."), speaker.sampling_rate, RATE
    )
    t = np.arange(3 * RATE) / RATE
    organ = 0.1 * sum(np.sin(2 * np.pi * 220 * step * t) for step in (1, 1.25, 1.5, 2))
    hiss = 0.1 * np.random.default_rng(0).normal(size=3 * RATE)
    samples = np.concatenate([hiss, np.zeros(RATE), said, np.zeros(RATE), organ])

    heard = classes.hear(Waveform(samples.astype(np.float32), RATE))

    n_patches, n_classes = heard.shape
    assert n_classes == 521
    starts_s = 0.48 * np.arange(n_patches)
    assert starts_s[-1] + 0.96 == pytest.approx(len(samples) / RATE, abs=0.5)
    hissing, sounding = starts_s < 2, starts_s > starts_s[-1] - 1.9
    speaking = (starts_s > 3.9) & (starts_s < 3.5 + len(said) / RATE)
    for patches, wanted, least in (
        (hissing, PINK_OR_WHITE_NOISE, 0.2),
        (speaking, slice(SPEECH, SPEECH + 1), 0.9),
        (sounding, slice(MUSIC, MUSIC + 1), 0.1),
    ):
        assert heard[patches][:, wanted].max(axis=1).mean() > least
    assert heard[hissing | sounding, SPEECH].max() < 0.03


@pytest.mark.parametrize("n_samples", [1, 16_000])
def test_a_short_sound_is_one_patch_and_silence_is_nothing(
    classes: SoundClasses, n_samples: int
) -> None:
    heard = classes.hear(Waveform(np.zeros(n_samples, np.float32), 16_000))
    assert heard[:, SPEECH].max() < 0.03
    assert len(heard) <= 2


def test_another_network_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "weights.zip", "w") as archive:
        archive.writestr("model.onnx", b"")
    with pytest.raises(ModelError, match="not the YAMNet"):
        lay_yamnet(tmp_path / "weights.zip", tmp_path / "model.onnx")

"""How close an exported model is to the one it was made from, on contents that are made here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encoder.errors import ModelError
from encoder.models.hub import towers_of
from encoder.prepare.hub.text import TEXTS
from encoder.towers import hub as towers
from encoder.types import DOCUMENT, Clip, Waveform

if TYPE_CHECKING:
    from encoder.towers.model import Model

LEAST_COSINE: dict[str | None, float] = {None: 0.999, "bf16": 0.99, "int8": 0.99, "int4": 0.98}
"""The mean cosine to float32 that a precision must keep. Float32's is below 1, since Pillow and
torchvision round the pixels of a resized picture differently."""


def measure(
    joint: towers.JointEncoder, exported: Model, facts: Mapping[str, Any]
) -> dict[str, dict[str, float]]:
    """Cosines of the exported model's vectors to torch's, mean and least, by modality.

    Raises:
        ModelError: a mean is below `LEAST_COSINE`.
    """
    measured: dict[str, dict[str, float]] = {}
    contents = samples()
    for modality, tower in towers_of(joint, facts["prompts"][DOCUMENT].__getitem__).items():
        expected, exported_rows = (
            either.forward([either.prepare(content) for content in contents[modality]]).rows
            for either in (tower, exported.towers[modality])
        )
        cosines = (expected * exported_rows).sum(axis=1)
        measured[modality] = {"mean": float(cosines.mean()), "least": float(cosines.min())}
    _check(joint.name, measured, facts["precision"])
    return measured


def _check(name: str, measured: Mapping[str, Mapping[str, float]], precision: str | None) -> None:
    least = LEAST_COSINE[precision]
    for modality, cosines in measured.items():
        if not cosines["mean"] >= least:
            weaker = {"int4": "int8", "int8": "None", "bf16": "None"}.get(precision or "", "")
            raise ModelError(
                f"{name} in {precision or 'float32'}: vectors of {modality} have a mean cosine of "
                f"{cosines['mean']:.4f} to those of torch, less than {least}.",
                remedy=f"Use quantization={weaker}."
                if weaker
                else "Leave out quantization to run it with torch.",
            )


_RATE_HZ = 16_000


def samples() -> Mapping[str, list[Any]]:
    """Contents by modality, as towers take them."""
    pictures = [
        picture(seed, *size) for seed, size in enumerate(((240, 320), (300, 200), (64, 64)))
    ]
    sounds = [sound(seed, duration_s) for seed, duration_s in enumerate((1.0, 3.0, 0.4))]
    clips = [
        Clip(np.stack([picture(seed, 120, 160) for seed in range(2)])),
        Clip(picture(5, 90, 60)[None], sounds[0]),
    ]
    return {"text": list(TEXTS), "image": pictures, "audio": sounds, "video": clips}


def picture(seed: int, height: int, width: int) -> NDArray[np.uint8]:
    """A sky over a field with a few shapes, uint8 RGB [height, width, 3]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    colours = rng.uniform(0, 255, (8, 3))
    pixels = colours[0] + (colours[1] - colours[0]) * y[..., None]
    pixels[y > rng.uniform(0.5, 0.8)] = colours[2]
    for colour in colours[3:]:
        centre, radius = rng.uniform(0.1, 0.9, 2), rng.uniform(0.05, 0.25)
        far = np.abs if rng.random() < 0.5 else np.square
        inside = far(y - centre[0]) + far(x - centre[1]) < (radius if far is np.abs else radius**2)
        pixels[inside] = colour + 20 * np.sin(60 * x[inside])[:, None]
    return np.asarray((pixels + rng.normal(0, 3, pixels.shape)).clip(0, 255), np.uint8)


def sound(seed: int, duration_s: float) -> Waveform:
    """Tones that rise and fade over a hiss."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(duration_s * _RATE_HZ)) / _RATE_HZ
    samples = rng.normal(0, 0.02, t.size)
    for start_hz in rng.uniform(150, 2000, 4):
        swell = 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(0.5, 6) * t)
        samples += 0.15 * swell * np.sin(2 * np.pi * (start_hz + 200 * t) * t)
    return Waveform(samples.clip(-1, 1).astype(np.float32), _RATE_HZ)

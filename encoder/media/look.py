"""What a photo looks like from afar: alike for shots of one scene, unlike for other photos.

The best 95 of 100 pairs of shots that were moved, turned, brightened and blurred by hand have a
likeness above .75; of two million pairs of different photos, six do (benchmarks/tried.md). Vectors
cannot tell them apart: those of two photos of surfers are as near as those of two shots.
"""

from __future__ import annotations

import binascii
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_SAMPLED, _PATCHES, _WAVES = 128, 16, 8
_N_NUMBERS = _WAVES * _WAVES - 1
_PAPER, _LEVELS = 0.6, 6.0
"""Where a larger share of the patches is within so many levels of the middle one, a picture looks
like any other page, screen or drawing. So do 2 of 100 photos."""

_AT = np.arange(_WAVES)
_COSINES = np.cos(np.pi * np.outer(_AT, np.arange(_PATCHES) + 0.5) / _PATCHES)
# Waves of photos are the weaker the shorter they are; this makes them count alike.
_STRENGTH = np.hypot(_AT[:, None], _AT)


def look_of(rgb: NDArray[np.uint8]) -> str:
    """The look of a picture, uint8 [h, w, 3], as text; empty for a page or nothing to see.

    It is the sign and strength of its longest waves, the first 8 x 8 of the cosine transform of
    16 x 16 patches of grey.
    """
    from PIL import Image

    step = max(1, min(rgb.shape[:2]) // _SAMPLED)
    grey = Image.fromarray(rgb[::step, ::step]).convert("L")
    patches = np.asarray(grey.resize((_PATCHES, _PATCHES), Image.Resampling.BOX), np.float64)
    if (np.abs(patches - np.median(patches)) <= _LEVELS).mean() > _PAPER:
        return ""
    waves = ((_COSINES @ patches @ _COSINES.T) * _STRENGTH).ravel()[1:]
    numbers = np.tanh(waves / waves.std()) * 127
    return binascii.b2a_base64(np.round(numbers).astype(np.int8).tobytes(), newline=False).decode()


def likeness(looks: Sequence[object]) -> NDArray[np.float32]:
    """How alike pictures look, -1 to 1, [n, n]; 0 for anything that is not a text of `look_of`."""
    numbers = np.frombuffer(b"".join(map(_numbers, looks)), np.int8)
    rows = numbers.reshape(-1, _N_NUMBERS).astype(np.float32)
    rows /= np.maximum(np.sqrt((rows * rows).sum(axis=1, keepdims=True)), 1.0)
    return np.asarray(rows @ rows.T)


def _numbers(look: object) -> bytes:
    try:
        data = binascii.a2b_base64(look) if isinstance(look, str) else b""
    except ValueError:  # of which binascii.Error is one
        data = b""
    return data if len(data) == _N_NUMBERS else bytes(_N_NUMBERS)

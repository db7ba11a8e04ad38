"""Pictures and sounds of nothing in particular, drawn and made here, the same each time. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from encoder.types import Waveform

Picture = NDArray[np.uint8]

_SIDE_PX = 224
_HZ = 16_000
_LENGTH_S = 2.0
_N_OF_EACH = 6
_N_SOUNDS = 4


def pictures() -> list[Picture]:
    """Skies over grounds, discs and boxes, stripes, and pages: uint8 arrays [224, 224, 3]."""
    chance = np.random.default_rng(0)
    return [
        np.clip(draw(chance), 0, 255).astype(np.uint8)
        for draw in (_landscape, _things, _stripes, _page)
        for _ in range(_N_OF_EACH)
    ]


def sounds() -> list[Waveform]:
    """Noises, tones, clicks and rising tones of two seconds at 16 kHz."""
    chance = np.random.default_rng(1)
    time_s = np.arange(int(_LENGTH_S * _HZ)) / _HZ
    return [Waveform(samples.astype(np.float32), _HZ) for samples in _samples(chance, time_s)]


def _colour(chance: np.random.Generator) -> NDArray[np.float64]:
    return chance.uniform(0, 255, 3)


def _grain(chance: np.random.Generator) -> NDArray[np.float64]:
    return chance.normal(0, 6, (_SIDE_PX, _SIDE_PX, 3))


def _landscape(chance: np.random.Generator) -> NDArray[np.float64]:
    horizon = int(chance.uniform(0.3, 0.7) * _SIDE_PX)
    heights = np.linspace(0, 1, _SIDE_PX)[:, None, None]
    sky, ground = _colour(chance), _colour(chance)
    picture = sky * (1 - heights / 2) + np.zeros((_SIDE_PX, _SIDE_PX, 3))
    picture[horizon:] = ground * (0.5 + heights[horizon:] / 2)
    return picture + _grain(chance)


def _things(chance: np.random.Generator) -> NDArray[np.float64]:
    picture = np.full((_SIDE_PX, _SIDE_PX, 3), _colour(chance))
    y, x = np.mgrid[:_SIDE_PX, :_SIDE_PX]
    for index in range(6):
        centre, radius = chance.uniform(0, _SIDE_PX, 2), chance.uniform(15, 50)
        offsets = np.abs(y - centre[0]), np.abs(x - centre[1])
        distance = np.hypot(*offsets) if index % 2 else np.maximum(*offsets)
        picture[distance < radius] = _colour(chance)
    return picture + _grain(chance)


def _stripes(chance: np.random.Generator) -> NDArray[np.float64]:
    y, x = np.mgrid[:_SIDE_PX, :_SIDE_PX] / _SIDE_PX
    angle, n_stripes = chance.uniform(0, np.pi), chance.uniform(2, 20)
    wave = 0.5 + 0.5 * np.sin(2 * np.pi * n_stripes * (x * np.cos(angle) + y * np.sin(angle)))
    shares: NDArray[np.float64] = wave[..., None]
    return shares * _colour(chance) + (1 - shares) * _colour(chance)


def _page(chance: np.random.Generator) -> NDArray[np.float64]:
    picture = np.full((_SIDE_PX, _SIDE_PX, 3), chance.uniform(200, 255))
    for line in range(20, _SIDE_PX - 20, 12):
        at = 20
        while at < _SIDE_PX - 30:
            width = int(chance.uniform(5, 30))
            picture[line : line + 5, at : at + width] = chance.uniform(0, 80)
            at += width + 5
    return picture + _grain(chance)


def _samples(
    chance: np.random.Generator, time_s: NDArray[np.float64]
) -> Iterator[NDArray[np.float64]]:
    for number in range(_N_SOUNDS):
        pitch_hz = 110 * 2 ** chance.uniform(0, 4)
        noise = chance.normal(0, 0.2, len(time_s))
        swell = 0.5 + 0.5 * np.sin(2 * np.pi * (number + 1) * time_s)
        yield noise * (swell if number % 2 else 1.0)
        yield 0.3 * np.sin(2 * np.pi * pitch_hz * time_s) * swell
        yield 0.3 * np.sin(2 * np.pi * pitch_hz * time_s * (1 + time_s))
        clicks = np.zeros(len(time_s))
        clicks[:: _HZ // (2 + 3 * number)] = 0.8
        yield clicks + 0.01 * noise

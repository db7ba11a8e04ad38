"""What sounds are made of: noise, tones, clicks and curves, for `sound_recipes.py`.

All last five seconds at 44.1 kHz, float64 [220_500], unless they are single events.
"""

# scipy has no types
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import signal

RATE = 44_100
N = 5 * RATE
Samples: TypeAlias = NDArray[Any]


def times() -> Samples:
    """The time of each sample in seconds."""
    return np.arange(N) / RATE


def noise(rng: Generator, low_hz: float = 20.0, high_hz: float = 20_000.0) -> Samples:
    """White noise between two frequencies, with unit standard deviation."""
    band = [low_hz, min(high_hz, RATE / 2 - 100)]
    filtered = signal.sosfilt(
        signal.butter(2, band, "bandpass", fs=RATE, output="sos"), rng.normal(size=N)
    )
    return np.asarray(filtered / filtered.std())


def slow(rng: Generator, rate_hz: float, low: float = 0.0, high: float = 1.0) -> Samples:
    """A smooth random curve between two levels, with about ``rate_hz`` turns a second."""
    n_knots = max(4, int(rate_hz * 10))
    knots = np.interp(np.linspace(0, n_knots - 1, N), np.arange(n_knots), rng.random(n_knots))
    return np.asarray(low + (high - low) * knots)


def tone(frequency_hz: Samples | float, levels: Sequence[float] = (1.0,)) -> Samples:
    """A tone with harmonics of the given levels; the frequency may change over time."""
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(frequency_hz, N)) / RATE
    return np.sum([level * np.sin((k + 1) * phase) for k, level in enumerate(levels)], axis=0)


def clicks(starts_s: Sequence[float] | Samples, click: Samples) -> Samples:
    """The same short sound at several times."""
    out = np.zeros(N)
    for start in (np.asarray(starts_s) * RATE).astype(int):
        part = click[: max(0, N - start)]
        out[start : start + len(part)] += part
    return out


def ring(
    frequencies_hz: Sequence[float] | Samples, decay_s: float, length_s: float = 1.5
) -> Samples:
    """Something that is struck: partials that die away."""
    t = np.arange(int(length_s * RATE)) / RATE
    return np.sum(
        [
            np.sin(2 * np.pi * f * t) * np.exp(-t * (1 + i / 2) / decay_s)
            for i, f in enumerate(frequencies_hz)
        ],
        axis=0,
    )


def burst(rng: Generator, decay_s: float, low_hz: float, high_hz: float) -> Samples:
    """A short blow of noise that dies away."""
    n = int(min(8 * decay_s, 3) * RATE)
    return noise(rng, low_hz, high_hz)[:n] * np.exp(-np.arange(n) / RATE / decay_s)


def every(rng: Generator, period_s: float, jitter: float = 0.0) -> Samples:
    """Times one period apart, more or less."""
    starts = np.arange(rng.uniform(0, period_s), 4.9, period_s)
    return np.asarray(np.clip(starts + rng.normal(0, jitter * period_s, len(starts)), 0, 4.9))


def envelope(starts_s: Samples, length_s: float, rise: float = 0.1) -> Samples:
    """1 during each of several events, 0 in between, with soft edges."""
    shape = signal.windows.tukey(int(length_s * RATE), 2 * rise)
    return np.clip(clicks(starts_s, shape), 0, 1)


def voice(rng: Generator, pitch_hz: Samples | float, formants_hz: Sequence[float]) -> Samples:
    """A voiced sound: a buzz through resonances."""
    buzz = tone(pitch_hz * (1 + 0.01 * slow(rng, 8)), [1 / (k + 1) for k in range(24)])
    heard = 0.1 * buzz
    for formant in formants_hz:
        b, a = signal.iirpeak(formant, 5, fs=RATE)
        heard = heard + signal.lfilter(b, a, buzz)
    return np.asarray(heard)

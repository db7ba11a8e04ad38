"""Sounds made on the spot from noise and sines: no recordings, and no licence to comply with.

Each function returns mono float32 samples at `RATE`, the same every time.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
RATE = 22_050
_SEED = 7


def sea_waves(duration_s: float = 8.0) -> Samples:
    """Surf: soft noise that swells and breaks every four seconds."""
    t = _times(duration_s)
    swell = np.clip(np.sin(2 * np.pi * t / 4.0), 0, None) ** 2 + 0.15
    return _finish(_noise(len(t), colour=1.0) * swell + 0.3 * _noise(len(t)) * swell**3)


def rain(duration_s: float = 6.0) -> Samples:
    """Steady hiss, with drops over it."""
    n = len(_times(duration_s))
    drops = np.zeros(n)
    places = _random().integers(0, n - 400, 900)
    tick = np.exp(-np.arange(400) / 40) * np.sin(np.arange(400) * 0.9)
    for place in places:
        drops[place : place + 400] += tick * 0.3
    return _finish(_noise(n, colour=0.3) + drops)


def thunder(duration_s: float = 6.0) -> Samples:
    """A crack and a long low roll."""
    t = _times(duration_s)
    roll = np.exp(-t / 1.6) + 0.6 * np.exp(-(((t - 1.5) / 0.6) ** 2))
    crack = _noise(len(t)) * np.exp(-t / 0.08)
    return _finish(_noise(len(t), colour=2.0) * roll * 3 + crack)


def rocket_launch(duration_s: float = 7.0) -> Samples:
    """A roar that rises, then moves away."""
    t = _times(duration_s)
    level = np.clip(t / 1.0, 0, 1) * np.exp(-np.clip(t - 3.5, 0, None) / 2.0)
    crackle = 1 + 0.7 * np.sign(_noise(len(t), colour=0.5))
    return _finish(_noise(len(t), colour=1.4) * level * crackle)


def engine(duration_s: float = 6.0) -> Samples:
    """A motorcycle: a train of explosions whose rate goes up and down."""
    t = _times(duration_s)
    rate_hz = 26 + 22 * np.sin(2 * np.pi * t / duration_s) ** 2
    phase = np.cumsum(rate_hz) / RATE
    beat = np.exp(-8 * (phase % 1.0)) + 0.6 * np.exp(-10 * ((phase + 0.42) % 1.0))
    return _finish(beat * (0.6 + 0.6 * _noise(len(t), colour=1.0)) - beat.mean() * 0.5)


def clock_ticking(duration_s: float = 6.0) -> Samples:
    """Tick, tock: short clicks twice a second."""
    t = _times(duration_s)
    click = np.zeros(len(t))
    for beat in range(int(duration_s * 2)):
        start = int(beat * RATE / 2)
        tone_hz = 2400 if beat % 2 else 1900
        own = np.arange(1200) / RATE
        click[start : start + 1200] += np.exp(-own * 250) * np.sin(2 * np.pi * tone_hz * own)
    return _finish(click + 0.002 * _noise(len(t)))


def alarm_clock(duration_s: float = 5.0) -> Samples:
    """Four quick beeps, a rest, four quick beeps."""
    t = _times(duration_s)
    on = ((t % 1.0) < 0.5) & ((t % 0.125) < 0.07)
    return _finish(np.sign(np.sin(2 * np.pi * 2048 * t)) * on * 0.5)


def siren(duration_s: float = 6.0) -> Samples:
    """A police or ambulance siren that wails up and down."""
    t = _times(duration_s)
    pitch_hz = 900 + 450 * np.sin(2 * np.pi * t / 3.0)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / RATE
    return _finish(np.sin(phase) + 0.4 * np.sin(2 * phase) + 0.2 * np.sin(3 * phase))


def church_bell(duration_s: float = 7.0) -> Samples:
    """A bronze bell struck every two seconds: partials of a real bell, each fading."""
    partials = ((0.5, 1.0, 3.0), (1.0, 1.0, 2.2), (1.2, 0.8, 1.6), (1.5, 0.5, 1.2), (2.0, 0.7, 0.9))
    t = _times(duration_s)
    sound = np.zeros(len(t))
    for strike_s in np.arange(0, duration_s, 2.0):
        own = np.clip(t - strike_s, 0, None)
        for ratio, level, fade_s in partials:
            ring = np.sin(2 * np.pi * 440 * ratio * own) * np.exp(-own / fade_s)
            sound += level * ring * (t >= strike_s)
    return _finish(sound)


def wind(duration_s: float = 7.0) -> Samples:
    """Gusts."""
    t = _times(duration_s)
    gust = 0.5 + 0.5 * np.sin(2 * np.pi * t / 3.3) * np.sin(2 * np.pi * t / 5.1)
    return _finish(_noise(len(t), colour=1.6) * gust)


def piano_tune() -> Samples:
    """A few notes of plucked, fading harmonics: Ode to Joy."""
    notes = (64, 64, 65, 67, 67, 65, 64, 62, 60, 60, 62, 64, 64, 62, 62)
    return _finish(np.concatenate([_note(midi) for midi in notes]))


def _note(midi: int, duration_s: float = 0.42) -> NDArray[np.float64]:
    t = _times(duration_s)
    pitch_hz = 440.0 * 2 ** ((midi - 69) / 12)
    harmonics = [
        np.sin(2 * np.pi * pitch_hz * k * t) * np.exp(-t * (2 + k)) / k for k in range(1, 7)
    ]
    attack = np.clip(t / 0.005, 0, 1)
    return np.asarray(np.sum(harmonics, axis=0) * attack, np.float64)


def _times(duration_s: float) -> NDArray[np.float64]:
    return np.arange(int(duration_s * RATE)) / RATE


def _random() -> np.random.Generator:
    return np.random.default_rng(_SEED)


def _noise(n: int, colour: float = 0.0) -> NDArray[np.float64]:
    """Noise whose power falls with frequency as f ** (-colour * 2); unit variance."""
    spectrum = np.fft.rfft(_random().standard_normal(n))
    frequency = np.fft.rfftfreq(n, 1 / RATE)
    shaped = np.fft.irfft(spectrum / np.maximum(frequency, 30.0) ** colour, n)
    return np.asarray(shaped / shaped.std(), np.float64)


def _finish(samples: NDArray[np.float64], fade_s: float = 0.02) -> Samples:
    edge = int(fade_s * RATE)
    samples = samples * 0.7 / np.abs(samples).max()
    samples[:edge] *= np.linspace(0, 1, edge)
    samples[-edge:] *= np.linspace(1, 0, edge)
    return samples.astype(np.float32)


SOUNDS: dict[str, Callable[[], Samples]] = {
    "sea-waves": sea_waves,
    "rain": rain,
    "thunder": thunder,
    "rocket-launch": rocket_launch,
    "motorcycle-engine": engine,
    "clock-ticking": clock_ticking,
    "alarm-clock": alarm_clock,
    "siren": siren,
    "church-bell": church_bell,
    "wind": wind,
    "piano": piano_tune,
}
"""Each sound by its file name."""

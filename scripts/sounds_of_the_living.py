"""Sounds of animals and people, made with `sound_synthesis`; five seconds each."""

# scipy has no types
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from scipy import signal
from sound_synthesis import (
    RATE,
    N,
    Samples,
    burst,
    clicks,
    envelope,
    every,
    noise,
    slow,
    times,
    tone,
    voice,
)


def crickets(rng: Generator) -> Samples:
    f = rng.uniform(3800, 5200)
    pulses = np.maximum(np.sin(2 * np.pi * rng.uniform(25, 40) * times()), 0)
    return tone(f) * pulses * envelope(every(rng, rng.uniform(0.5, 1)), 0.3) + 0.02 * noise(rng)


def bee(rng: Generator) -> Samples:
    pitch = rng.uniform(160, 260) * (1 + 0.1 * slow(rng, 3))
    return tone(pitch, [1, 0.9, 0.8, 0.7, 0.5, 0.5, 0.4, 0.3]) * slow(rng, 1, 0.3, 1)


def mosquito(rng: Generator) -> Samples:
    return tone(rng.uniform(450, 700) * (1 + 0.1 * slow(rng, 2)), [1, 0.6, 0.4, 0.3]) * slow(
        rng, 1, 0, 1
    )


def chirps(rng: Generator) -> Samples:
    out = 0.01 * noise(rng)
    for _ in range(rng.integers(2, 5)):
        f, span = rng.uniform(2500, 5500), rng.uniform(-1500, 1500)
        t = np.arange(int(rng.uniform(0.05, 0.2) * RATE)) / RATE
        chirp = np.sin(2 * np.pi * (f * t + span * t**2 * 4)) * np.hanning(len(t))
        out += clicks(every(rng, rng.uniform(0.2, 0.8), 0.2), chirp)
    return out


def cuckoo(rng: Generator) -> Samples:
    f = rng.uniform(480, 620)
    starts = every(rng, 1.4)
    return tone(f * 1.2) * envelope(starts, 0.25, 0.2) + tone(f) * envelope(starts + 0.4, 0.35, 0.2)


def owl(rng: Generator) -> Samples:
    return tone(rng.uniform(300, 450), [1, 0.2]) * envelope(
        np.array([0.3, 1.3, 1.7, 3.4]), 0.5, 0.3
    )


def rooster(rng: Generator) -> Samples:
    start, base = rng.uniform(0, 1.5), rng.uniform(420, 650)
    knots = start + np.array([0, 0.15, 0.3, 0.5, 0.8, 1.5, 2.0])
    pitch = np.interp(times(), knots, base * np.array([0.9, 1.1, 1.0, 1.5, 1.9, 1.7, 0.9]))
    level = np.interp(
        times(),
        [start, start + 0.05, start + 0.28, start + 0.3, start + 0.36, start + 1.8, start + 2.1],
        [0, 0.7, 0.5, 0.1, 1, 0.7, 0],
    )
    return voice(rng, pitch, [1000, 1900, 2900]) * level + 0.003 * noise(rng)


def hen(rng: Generator) -> Samples:
    return voice(rng, rng.uniform(350, 500), [900, 1700]) * envelope(every(rng, 0.4, 0.2), 0.1, 0.3)


def dog(rng: Generator) -> Samples:
    starts = np.sort(rng.uniform(0, 4.5, rng.integers(1, 7)))
    base = rng.uniform(150, 700)
    shape = signal.windows.exponential(
        int(0.2 * RATE), center=int(0.04 * RATE), tau=0.05 * RATE, sym=False
    )
    bark = voice(rng, base * (1 + 0.3 * slow(rng, 4)), [base * 1.8, 1100, 2400]) + 1.5 * noise(
        rng, 400, 3000
    )
    return bark * np.clip(clicks(starts, shape), 0, 1)


def cat(rng: Generator) -> Samples:
    pitch = np.interp(times() % 2.4, [0, 0.3, 0.9], [500, 750, 480]) * rng.uniform(0.8, 1.2)
    return voice(rng, pitch, [900, 1600, 3000]) * envelope(np.array([0.05, 2.45]), 0.85, 0.2)


def cow(rng: Generator) -> Samples:
    pitch = np.interp(times(), [0, 0.5, 2], [100, 150, 120]) * rng.uniform(0.8, 1.3)
    return voice(rng, pitch, [350, 700, 1500]) * envelope(np.array([0.3]), 1.8, 0.2)


def sheep(rng: Generator) -> Samples:
    tremble = 1 + 0.12 * np.sin(2 * np.pi * rng.uniform(7, 10) * times())
    return voice(rng, rng.uniform(200, 420) * tremble, [700, 1400, 2600]) * envelope(
        np.array([0.3, 2.4]), 1.0
    )


def frog(rng: Generator) -> Samples:
    croak = np.maximum(signal.square(2 * np.pi * rng.uniform(25, 50) * times(), 0.3), 0)
    return (
        voice(rng, rng.uniform(150, 300), [500, 1400])
        * croak
        * envelope(every(rng, 0.8, 0.1), 0.35)
    )


def baby(rng: Generator) -> Samples:
    period, base = rng.uniform(1.0, 1.6), rng.uniform(380, 560)
    place = (times() + rng.uniform(0, period)) % period / period
    pitch = base * np.interp(place, [0, 0.2, 0.6, 0.8], [0.85, 1.15, 1.05, 0.8])
    level = np.interp(place, [0, 0.08, 0.65, 0.75, 1], [0, 1, 0.9, 0, 0])
    breath = noise(rng, 800, 4000) * np.interp(place, [0.8, 0.85, 0.95, 1], [0, 0.05, 0.05, 0])
    return voice(rng, pitch, [1100, 1900, 3400]) * level + breath


def sneeze(rng: Generator) -> Samples:
    start = rng.uniform(0.1, 2)
    gasp = noise(rng, 500, 3000) * envelope(np.array([start]), 0.4, 0.4) * 0.15
    shape = clicks([start + 0.5], np.exp(-np.arange(RATE) / RATE / rng.uniform(0.06, 0.15)))
    blow = noise(rng, 900, 9000) + voice(rng, rng.uniform(150, 350), [600, 1300, 2600])
    return gasp + blow * shape + 0.002 * noise(rng)


def cough(rng: Generator) -> Samples:
    starts = rng.uniform(0, 2) + np.arange(rng.integers(1, 4)) * rng.uniform(0.35, 0.6)
    shape = clicks(starts, np.exp(-np.arange(RATE // 2) / RATE / 0.06))
    return (noise(rng, 200, 4000) + voice(rng, rng.uniform(90, 200), [600, 1100])) * shape


def laugh(rng: Generator) -> Samples:
    starts = rng.uniform(0, 0.5) + np.arange(rng.integers(6, 16)) * rng.uniform(0.17, 0.24)
    sound = voice(
        rng, rng.uniform(150, 350) * slow(rng, 1, 0.8, 1.2), [800, 1300, 2600]
    ) + 0.4 * noise(rng, 500, 5000)
    return sound * envelope(starts, 0.12, 0.3)


def snore(rng: Generator) -> Samples:
    rattle = np.maximum(signal.sawtooth(2 * np.pi * rng.uniform(25, 60) * times()), 0)
    return noise(rng, 80, 1500) * rattle * envelope(every(rng, rng.uniform(2, 3)), 1.2, 0.4)


def breath(rng: Generator) -> Samples:
    return noise(rng, 400, 5000) * envelope(every(rng, rng.uniform(1.2, 2)), 0.7, 0.5)


def heartbeat(rng: Generator) -> Samples:
    thump = burst(rng, 0.04, 25, 120)
    starts = every(rng, rng.uniform(0.7, 1))
    return clicks(starts, thump) + 0.7 * clicks(starts + 0.28, thump)


def whistle(rng: Generator) -> Samples:
    trill = 1 + 0.02 * signal.square(2 * np.pi * rng.uniform(20, 40) * times())
    return tone(rng.uniform(2300, 3000) * trill) * envelope(np.array([0.3, 2.5]), 1.0, 0.05)


def tune(rng: Generator) -> Samples:
    notes = rng.choice([1000, 1122, 1260, 1335, 1498, 1682], 10)
    pitch = np.repeat(notes, N // 10 + 1)[:N].astype(float)
    return tone(signal.lfilter([0.002], [1, -0.998], pitch - pitch[0]) + pitch[0])

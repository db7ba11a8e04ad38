"""Sounds of weather, machines and objects, made with `sound_synthesis`; five seconds each."""

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
    ring,
    slow,
    times,
    tone,
)


def rain(rng: Generator) -> Samples:
    drops = clicks(rng.uniform(0, 4.9, rng.integers(200, 900)), burst(rng, 0.004, 2000, 9000))
    return noise(rng, rng.uniform(300, 1000), 12_000) * slow(rng, 1, 0.8, 1) + 0.6 * drops


def waves(rng: Generator) -> Samples:
    swell = np.sin(np.pi * (times() / rng.uniform(3, 7) + rng.random())) ** 2
    return noise(rng, 60, 800) * (0.2 + swell) + noise(rng, 800, 9000) * swell**2 * 0.7


def wind(rng: Generator) -> Samples:
    low = noise(rng, 50, 400) * slow(rng, 0.6, 0.2, 1)
    return low + noise(rng, 300, rng.uniform(800, 1500)) * slow(rng, 0.8, 0, 0.6)


def fire(rng: Generator) -> Samples:
    cracks = np.zeros(N)
    for _ in range(rng.integers(40, 140)):
        crack = burst(rng, rng.uniform(0.0005, 0.004), 1000, 12_000) * rng.exponential(3)
        cracks += clicks([rng.uniform(0, 4.9)], crack)
    return cracks + 0.15 * noise(rng, 40, 700) * slow(rng, 3, 0.5, 1)


def stream(rng: Generator) -> Samples:
    out = 0.3 * noise(rng, 400, 6000)
    for _ in range(120):
        f = rng.uniform(400, 1600)
        t = np.arange(int(0.06 * RATE)) / RATE
        out += clicks(
            [rng.uniform(0, 4.9)], np.sin(2 * np.pi * (f * t + 3 * f * t**2)) * np.exp(-t / 0.02)
        )
    return out


def drip(rng: Generator) -> Samples:
    t = np.arange(int(0.15 * RATE)) / RATE
    f = rng.uniform(700, 1500)
    drop = np.sin(2 * np.pi * (f * t + 2 * f * t**2)) * np.exp(-t / 0.03)
    return clicks(every(rng, rng.uniform(0.5, 1.2), 0.1), drop)


def thunder(rng: Generator) -> Samples:
    fall = np.exp(-np.maximum(times() - rng.uniform(0, 1), 0) / rng.uniform(0.8, 2))
    return noise(rng, 20, 150) * fall * slow(rng, 5, 0.3, 1) + 0.2 * noise(rng, 100, 1500) * fall**3


def clock(rng: Generator) -> Samples:
    tick = (
        ring(rng.uniform(1500, 6000, 4), 0.008, 0.1)
        + 0.5 * burst(rng, 0.002, 2000, 12_000)[:500].mean()
    )
    tock = ring(rng.uniform(1200, 5000, 4), 0.008, 0.1)
    period = rng.choice([0.25, 0.5, 1.0])
    start = rng.uniform(0, period)
    both = clicks(np.arange(start, 4.9, 2 * period), tick) + clicks(
        np.arange(start + period, 4.9, 2 * period), tock
    )
    return both + 0.01 * noise(rng)


def helicopter(rng: Generator) -> Samples:
    rate = rng.uniform(9, 22)
    chop = np.abs(np.sin(np.pi * rate * times())) ** rng.uniform(4, 10)
    return (
        noise(rng, 40, 500) * chop * 2
        + noise(rng, 200, 4000) * (0.15 + 0.4 * chop)
        + 0.2 * tone(rate * 17)
    )


def saw(rng: Generator) -> Samples:
    revs = slow(rng, 1.5, 70, 160)
    motor = signal.sawtooth(2 * np.pi * np.cumsum(revs) / RATE)
    return motor * (1 + 0.4 * noise(rng, 20, 200)) + 0.5 * noise(rng, 1000, 9000) * np.abs(motor)


def engine(rng: Generator) -> Samples:
    revs = slow(rng, 0.5, 25, 60)
    return tone(revs, [1, 0.9, 0.7, 0.6, 0.4, 0.4, 0.3, 0.2]) * (
        1 + 0.2 * noise(rng, 20, 80)
    ) + 0.3 * noise(rng, 60, 1500)


def airplane(rng: Generator) -> Samples:
    return noise(rng, 60, 1200) * np.hanning(N) + 0.2 * tone(rng.uniform(90, 300), [1, 0.6, 0.4])


def vacuum(rng: Generator) -> Samples:
    return noise(rng, 200, 8000) + 0.5 * tone(rng.uniform(180, 400), [1, 0.6, 0.5, 0.3, 0.3])


def drill(rng: Generator) -> Samples:
    revs = rng.uniform(300, 700) * (0.8 + 0.2 * slow(rng, 1))
    return signal.sawtooth(2 * np.pi * np.cumsum(revs) / RATE) + 0.4 * noise(rng, 1000, 10_000)


def train(rng: Generator) -> Samples:
    clack = burst(rng, 0.02, 80, 3000)
    starts = every(rng, rng.uniform(0.5, 0.9))
    return clicks(starts, 2 * clack) + clicks(starts + 0.13, 2 * clack) + 0.5 * noise(rng, 50, 900)


def train_horn(rng: Generator) -> Samples:
    base = rng.uniform(230, 320)
    chord = sum(tone(base * ratio, [1, 0.8, 0.6, 0.4, 0.3]) for ratio in (1, 1.26, 1.5))
    return np.asarray(chord * envelope(np.array([0.3, 2.5]), 1.6, 0.05))


def siren(rng: Generator) -> Samples:
    wobble = np.sin(2 * np.pi * rng.choice([0.25, 0.5, 3.0]) * times())
    return tone(rng.uniform(700, 900) + 300 * wobble, [1, 0.5, 0.3, 0.2])


def two_tone(rng: Generator) -> Samples:
    high = signal.square(2 * np.pi * rng.uniform(0.5, 1.0) * times())
    return tone(490 + 60 * high, [1, 0.6, 0.5, 0.3])


def alarm(rng: Generator) -> Samples:
    return tone(rng.uniform(1800, 3500), [1, 0.3]) * envelope(
        every(rng, rng.uniform(0.2, 0.6)), 0.12
    )


def beep(rng: Generator) -> Samples:
    return tone(rng.uniform(600, 2000)) * envelope(
        np.array([rng.uniform(0, 2)]), rng.uniform(0.1, 0.8)
    )


def phone(rng: Generator) -> Samples:
    hammer = ring(rng.uniform(900, 2500, 3), 0.15, 0.4)
    starts = np.concatenate([start + np.arange(0, 1.2, 0.045) for start in (0.2, 3.0)])
    return clicks(starts, hammer)


def church_bell(rng: Generator) -> Samples:
    f = rng.uniform(180, 500)
    return clicks([0.1, 2.2], ring([f * r for r in (0.5, 1, 1.2, 1.5, 2, 2.7, 3.4)], 1.2, 3))


def door_bell(rng: Generator) -> Samples:
    f = rng.uniform(500, 750)
    return clicks([0.3], ring([f * 1.26, f * 2.52], 0.8)) + clicks([1.0], ring([f, f * 2], 1.0))


def horn(rng: Generator) -> Samples:
    f = rng.uniform(330, 480)
    both = tone(f, [1, 0.8, 0.7, 0.6, 0.5, 0.4]) + tone(f * 1.25, [1, 0.8, 0.7, 0.6, 0.5])
    return both * envelope(rng.uniform(0, 3.5, rng.integers(1, 4)), rng.uniform(0.3, 1.2), 0.05)


def knock(rng: Generator) -> Samples:
    blow = ring(rng.uniform(90, 500, 4), 0.04, 0.3) + 0.3 * ring(
        rng.uniform(500, 1500, 3), 0.01, 0.3
    )
    start = rng.uniform(0, 2)
    return clicks(start + np.arange(rng.integers(2, 6)) * rng.uniform(0.15, 0.3), blow)


def footsteps(rng: Generator) -> Samples:
    heel, toe = burst(rng, 0.015, 80, 1500), burst(rng, 0.02, 800, 6000)
    starts = every(rng, rng.uniform(0.35, 0.7), 0.03)
    return clicks(starts, heel) + 0.3 * clicks(starts + 0.08, toe)


def clapping(rng: Generator) -> Samples:
    starts = every(rng, rng.uniform(0.2, 0.45), 0.05)
    return clicks(starts, burst(rng, 0.01, 700, 6000))


def applause(rng: Generator) -> Samples:
    out = 0.1 * noise(rng, 500, 6000)
    for _ in range(12):
        out += clicks(rng.uniform(0, 4.9, 60), burst(rng, 0.008, rng.uniform(500, 1200), 5000))
    return out


def typing(rng: Generator) -> Samples:
    out = np.zeros(N)
    for start in np.cumsum(rng.uniform(0.06, 0.3, 30)):
        if start < 4.8:
            out += clicks([start], burst(rng, 0.003, 1500, 9000)) + 0.5 * clicks(
                [start + 0.07], burst(rng, 0.002, 2000, 9000)
            )
    return out


def glass(rng: Generator) -> Samples:
    out = clicks([0.3], 3 * burst(rng, 0.02, 2000, 15_000))
    for _ in range(40):
        shard = ring(rng.uniform(2500, 11_000, 3), rng.uniform(0.02, 0.1), 0.5)
        out += clicks([0.3 + rng.exponential(0.25)], shard * rng.random())
    return out


def explosion(rng: Generator) -> Samples:
    return clicks([0.2], burst(rng, rng.uniform(0.3, 0.8), 20, rng.uniform(300, 1500)) + 0)


def gunshot(rng: Generator) -> Samples:
    shot = burst(rng, 0.03, 100, 10_000)
    echo = burst(rng, 0.25, 80, 1500)
    return clicks(rng.uniform(0, 4, rng.integers(1, 4)), shot) + 0.2 * clicks([0.3], echo)


def fireworks(rng: Generator) -> Samples:
    out = np.zeros(N)
    for start in rng.uniform(0, 4, 4):
        out += clicks([start], burst(rng, 0.15, 40, 1500))
        out += 0.2 * clicks(
            start + rng.exponential(0.4, 60).clip(0, 0.9), burst(rng, 0.003, 2000, 12_000)
        )
    return out


def whoosh(rng: Generator) -> Samples:
    return noise(rng, rng.uniform(200, 600), 5000) * envelope(
        np.array([rng.uniform(0, 3)]), rng.uniform(0.3, 1), 0.5
    )


def static(rng: Generator) -> Samples:
    return noise(rng, 300, 4000) * slow(rng, 6, 0.4, 1) + clicks(
        rng.uniform(0, 4.9, 60), burst(rng, 0.002, 500, 9000)
    )


def hum(rng: Generator) -> Samples:
    return tone(rng.choice([50.0, 60.0]), [0.6, 1, 0.3, 0.5, 0.2, 0.3])


def laser(rng: Generator) -> Samples:
    t = np.arange(int(0.35 * RATE)) / RATE
    shot = np.sin(
        2 * np.pi * np.cumsum(rng.uniform(1500, 4000) * np.exp(-t * 8) + 200) / RATE
    ) * np.exp(-t * 6)
    return clicks(every(rng, rng.uniform(0.4, 1), 0.1), shot)


def hiss(rng: Generator) -> Samples:
    return noise(rng, 3000, 16_000) * envelope(np.array([0.2]), rng.uniform(1, 4), 0.1)


def sawing(rng: Generator) -> Samples:
    return noise(rng, 800, 7000) * np.abs(np.sin(np.pi * rng.uniform(1.5, 3) * times())) ** 2


def hammer(rng: Generator) -> Samples:
    blow = ring(rng.uniform(800, 4000, 5), 0.06, 0.5) + burst(rng, 0.01, 200, 6000)[:4000].mean()
    return clicks(every(rng, rng.uniform(0.4, 0.8), 0.05), blow)


def white_noise(rng: Generator) -> Samples:
    return noise(rng) * rng.uniform(0.2, 1)

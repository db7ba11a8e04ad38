"""Make `anymodal_ecg/rhythms.npz`: a linear classifier of simulated rhythms.

python make_rhythms.py

A beat is a sum of Gaussian waves P, Q, R, S and T (McSharry et al., "A Dynamical Model for
Generating Synthetic Electrocardiogram Signals", 2003), with sizes, widths and noise drawn for each
recording. For each rhythm 250 windows are drawn; a softmax regression is fitted on 200 of them, and
its accuracy is printed for the other 50. No recording of a person was used.
"""

from __future__ import annotations

import numpy as np
from anymodal_ecg.kind import RATE_HZ, Lead
from anymodal_ecg.tower import EcgTower, describe
from numpy.typing import NDArray

from encoder.binding.classifier import fit_classifier

Array = NDArray[np.float64]
N_EACH, N_FITTED, LENGTH_S = 250, 200, 10

NAMES = (
    "normal sinus rhythm, a healthy regular heartbeat",
    "tachycardia, a fast heartbeat, a racing heart",
    "bradycardia, a slow heartbeat",
    "atrial fibrillation, an irregular heartbeat without P waves",
    "premature ventricular beats, extrasystoles, skipped heartbeats",
    "ventricular tachycardia, fast wide beats",
    "ventricular fibrillation, cardiac arrest, a quivering heart",
    "asystole, a flat line, no heartbeat",
    "noise, a loose electrode, a bad recording",
)


def waves(r: np.random.Generator, *, p: float = 1.0, wide: float = 1.0) -> Array:
    """Height, place (s from the R peak) and width (s) of the waves of a beat, [5, 3]."""
    usual = np.array(
        [
            [0.13 * p, -0.17, 0.022],
            [-0.1, -0.03, 0.009 * wide],
            [1.0, 0.0, 0.011 * wide],
            [-0.2, 0.03, 0.01 * wide],
            [0.28 * (-1 if wide > 2 else 1), 0.27, 0.045],
        ]
    )
    return usual * r.uniform(0.7, 1.3, usual.shape)


def beating(times_s: Array, starts_s: Array, shape: Array) -> Array:
    """Beats at these times."""
    lead = np.zeros_like(times_s)
    for height, place, width in shape:
        apart = times_s[:, None] - (starts_s + place)[None]
        lead += height * np.exp(-(apart**2) / (2 * width**2)).sum(axis=1)
    return lead


def regular(r: np.random.Generator, rate: float, spread: float) -> Array:
    """Times of beats at a rate (1/min), whose intervals vary by ``spread``."""
    gaps = 60 / rate * np.clip(r.normal(1, spread, 60), 0.45, 1.9)
    return np.cumsum(gaps) - r.uniform(0, 1)


def clean(r: np.random.Generator, name: str, times_s: Array) -> Array:
    word = name.partition(",")[0]
    if word == "asystole":
        return 0.02 * np.sin(times_s * r.uniform(0.5, 2))
    if word == "ventricular fibrillation":
        phase = np.cumsum(r.normal(2 * np.pi * r.uniform(4, 7), 8, len(times_s))) / RATE_HZ
        return np.sin(phase) * (0.6 + 0.4 * np.sin(times_s * r.uniform(0.5, 2))) * r.uniform(0.3, 1)
    if word == "noise":
        colour = np.cumsum(r.normal(size=len(times_s))) * r.uniform(0.02, 0.1)
        return colour + r.normal(size=len(times_s)) * r.uniform(0.2, 1)
    if word == "ventricular tachycardia":
        return beating(times_s, regular(r, r.uniform(130, 210), 0.02), waves(r, p=0, wide=4))
    if word == "atrial fibrillation":
        beats = beating(
            times_s, regular(r, r.uniform(65, 140), r.uniform(0.17, 0.3)), waves(r, p=0)
        )
        return beats + 0.05 * np.sin(2 * np.pi * r.uniform(5, 8) * times_s)
    rates = {"tachycardia": (105, 170), "bradycardia": (32, 52)}
    starts = regular(r, r.uniform(*rates.get(word, (58, 95))), r.uniform(0.01, 0.05))
    if word != "premature ventricular beats":
        return beating(times_s, starts, waves(r))
    early = np.arange(len(starts)) % r.integers(3, 6) == 2
    wide = starts[early] - 0.35 * np.median(np.diff(starts))
    return beating(times_s, starts[~early], waves(r)) + beating(
        times_s, wide, waves(r, p=0, wide=4)
    )


def drawn(r: np.random.Generator, name: str) -> Lead:
    """One window, with a wandering baseline, mains hum and muscle noise."""
    times_s = np.arange(LENGTH_S * RATE_HZ) / RATE_HZ
    lead = clean(r, name, times_s) * (r.choice([1, 1, 1, -1]) if "asystole" not in name else 1)
    lead += r.uniform(0, 0.1) * np.sin(2 * np.pi * r.uniform(0.1, 0.4) * times_s)
    lead += r.uniform(0, 0.02) * np.sin(2 * np.pi * 50 * times_s)
    return (lead + r.normal(size=len(lead)) * r.uniform(0.002, 0.04)).astype(np.float32)


def main() -> None:
    r = np.random.default_rng(0)
    n = len(NAMES)
    table = np.array([[describe(drawn(r, name)) for _ in range(N_EACH)] for name in NAMES], float)
    places = np.repeat(np.arange(n), N_FITTED)
    made = fit_classifier(table[:, :N_FITTED].reshape(n * N_FITTED, -1), places, NAMES)
    right = made.logits(table[:, N_FITTED:]).argmax(axis=2) == np.arange(n)[:, None]
    print(f"{right.mean():.3f} of {right.size} held-out windows")
    for name, share in zip(NAMES, right.mean(axis=1), strict=True):
        print(f"{share:.2f} {name}")
    made.write(EcgTower.table)


if __name__ == "__main__":
    main()

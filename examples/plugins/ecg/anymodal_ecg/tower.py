"""A window of an ECG as numbers, named by its rhythm.

Beats are found as by Pan and Tompkins ("A Real-Time QRS Detection Algorithm", 1985). The numbers
say how fast and how regular they are (Task Force of the ESC and NASPE, "Heart Rate Variability",
1996), what the mean beat is and how much beats differ from it, and the power in frequency bands.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anymodal_ecg.kind import RATE_HZ, Lead
from encoder.binding.classifier import ClassifierTower

_BANDS_HZ = (0.5, 1.5, 3, 5, 8, 12, 18, 26, 40, 62)
_BEAT = np.arange(-38, 50, 4)  # .3 s before the peak, .4 s after it


def beats(lead: Lead) -> NDArray[np.int64]:
    """The positions of the beats' peaks, in samples."""
    from scipy.signal import butter, find_peaks, sosfiltfilt

    sharp = sosfiltfilt(butter(2, (5, 18), "band", fs=RATE_HZ, output="sos"), lead)
    energy = np.convolve(np.gradient(sharp) ** 2, np.ones(15) / 15, "same")
    height = 0.25 * np.quantile(energy, 0.98)
    peaks, _ = find_peaks(energy, height=max(float(height), 1e-9), distance=RATE_HZ // 4)
    near = [np.argmax(np.abs(sharp[max(0, p - 10) : p + 10])) + max(0, p - 10) for p in peaks]
    return np.array(near, np.int64)


def describe(lead: Lead) -> NDArray[np.float32]:
    """A window [n_samples] to float32 [n_features]."""
    from scipy.signal import welch

    level = lead - np.median(lead)
    size = max(float(np.quantile(np.abs(level), 0.995)), 1e-3)
    level = level / size
    at = beats(level)
    gaps_s = np.diff(at) / RATE_HZ
    gaps_s = gaps_s if len(gaps_s) > 1 else np.full(2, 10.0)
    steps = np.diff(gaps_s)
    frequencies, power = welch(level, RATE_HZ, nperseg=min(512, len(level)))
    edges = np.searchsorted(frequencies, _BANDS_HZ)
    bands = np.add.reduceat(power, edges[:-1]) / max(float(power.sum()), 1e-12)
    inner = at[(at + _BEAT[0] >= 0) & (at + _BEAT[-1] < len(level))]
    cut = level[inner[:, None] + _BEAT] if len(inner) else np.zeros((1, len(_BEAT)))
    mean = gaps_s.mean()
    spread, jumps = gaps_s.std() / mean, np.sqrt(np.mean(steps**2)) / mean
    rhythm = [np.log(mean), np.log1p(10 * spread), np.log1p(10 * jumps), gaps_s.min() / mean]
    rhythm += [min(gaps_s.max() / mean, 4.0), (np.abs(steps) > 0.05 * mean).mean()]
    rhythm += [np.log(size + 1e-3), (np.abs(level) < 0.1).mean(), len(at) * RATE_HZ / len(level)]
    return np.concatenate([rhythm, np.sqrt(bands), cut.mean(0), cut.std(0)]).astype(np.float32)


class EcgTower(ClassifierTower):
    """Rhythms among texts: by named classes, or by `anymodal models bind`."""

    table = Path(__file__).parent / "rhythms.npz"

    def describe(self, content: Lead) -> NDArray[np.float32]:
        """A window [n_samples] to float32 [n_features]."""
        return describe(content)

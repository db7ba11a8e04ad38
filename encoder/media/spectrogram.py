"""Sound from spectrograms as librosa makes them, so that every model can take them.

Bins are recovered from mel bands by Richardson-Lucy steps (Richardson 1972, Lucy 1974), which fit
loud and soft bands alike; phases by fast Griffin-Lim, see `encoder.media.stft`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.errors import InputError
from encoder.media.stft import griffin_lim, istft, mel_filters
from encoder.types import Waveform

DECIBELS = "db"
MAX_DURATION_S = 600.0
"""The longest sound made from a spectrogram: phases take a third of its duration, and memory."""

_LIBROSA_MELS = 128
_MEL_STEPS = 60
_PHASE_STEPS = 32
# If the sound exceeds this, the array was not a spectrogram of sound in [-1, 1].
_MAX_PEAK = 32.0
# Decibels relative to their own peak have no absolute level: the sound gets this one.
_PEAK = 0.5
_MAX_DECIBELS = 200.0
_TINY = 1e-20


@dataclass(frozen=True)
class SpectrogramLayout:
    """How a spectrogram array was made; the defaults are librosa's.

    Args:
        n_fft: samples per frame, which is centred and has a Hann window; None for 2,048, or for
            what the number of bins of a complex spectrogram implies.
        hop_length: samples from frame to frame; None for a quarter of ``n_fft``.
        n_mels: mel bands (Slaney's scale and norm); None for linear bins, or for 128 rows, which
            are librosa's mel bands.
        fmin: where the mel bands begin, in Hz.
        fmax: where they end; None for half of the sampling rate.
        power: the exponent of the magnitude, 2 for power and 1 for magnitude, or ``"db"``, decibels
            (of mel bands: those of power).

    Raises:
        InputError: a value that no spectrogram can have.
    """

    n_fft: int | None = None
    hop_length: int | None = None
    n_mels: int | None = None
    fmin: float = 0.0
    fmax: float | None = None
    power: float | str = 2.0

    def __post_init__(self) -> None:
        _check_whole("n_fft", self.n_fft, 16, 2**17)
        _check_whole("hop_length", self.hop_length, 1, 2**17)
        _check_whole("n_mels", self.n_mels, 2, 2**12)
        for name, value in (("fmin", self.fmin), ("fmax", self.fmax)):
            if value is not None and not (_is_number(value) and 0 <= value < 1e6):
                raise InputError(name, got=repr(value), wanted="a frequency in Hz")
        if self.power != DECIBELS and not (_is_number(self.power) and 0 < float(self.power) <= 8):
            expected = '2 for power, 1 for magnitude, or "db"'
            raise InputError("power", got=repr(self.power), wanted=expected)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _check_whole(name: str, value: object, low: int, high: int) -> None:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if value is not None and not (whole and low <= value <= high):  # type: ignore[operator]
        raise InputError(name, got=repr(value), wanted=f"a whole number, {low} to {high:,}")


def to_sound(
    label: str, array: NDArray[Any], sampling_rate: int, layout: SpectrogramLayout
) -> Waveform:
    """The sound of a spectrogram [n_bins, n_frames], real or complex; the same every time.

    Args:
        label: names the array in errors.
        array: as librosa's ``stft``, ``melspectrogram``, ``power_to_db`` or ``amplitude_to_db``
            return it. Decibels whose highest value is 0 (``ref=np.max``) have no level.
        sampling_rate: of the sound, in Hz.
        layout: how it was made.

    Raises:
        InputError: the array does not fit the layout, or has values that no spectrogram has.
    """
    _check_values(label, array, layout)
    is_complex = np.iscomplexobj(array)
    n_fft = layout.n_fft or (2 * (len(array) - 1) if is_complex else 2048)
    _check_whole("n_fft", n_fft, 16, 2**17)  # also if the bins imply it
    hop = layout.hop_length or n_fft // 4
    _check_shape(label, array, sampling_rate, n_fft, hop)
    n_samples = hop * max(array.shape[1] - 1, 1)
    if is_complex:
        _check_bins(label, array, n_fft, layout)
        samples = istft(array.T.astype(np.complex64), n_fft, hop, n_samples)
    else:
        magnitudes = _magnitudes(label, array, sampling_rate, n_fft, layout)
        samples = _with_phases(magnitudes, n_fft, hop)[:n_samples]
    return Waveform(_levelled(label, samples, array, layout), sampling_rate)


def _check_values(label: str, array: NDArray[Any], layout: SpectrogramLayout) -> None:
    expected = "a power spectrogram [bins, frames], float, or what librosa.stft returns, complex"
    if array.ndim != 2 or 0 in array.shape or len(array) < 2:
        raise InputError(label, got=f"shape {array.shape}", wanted=expected)
    if not np.issubdtype(array.dtype, np.inexact):
        raise InputError(label, got=f"dtype {array.dtype}", wanted=expected)
    if not np.isfinite(array).all():
        n_bad = int(array.size - np.isfinite(array).sum())
        raise InputError(label, got=f"{n_bad} values that are NaN or infinite", wanted="none")
    if np.iscomplexobj(array):
        if layout.power == DECIBELS or layout.n_mels:
            unit = 'power="db"' if layout.power == DECIBELS else f"n_mels={layout.n_mels}"
            raise InputError(label, got="a complex array", wanted=f"real values with {unit}")
        return
    if layout.power == DECIBELS and array.max() > _MAX_DECIBELS:
        got = f"values up to {array.max():.4g}"
        raise InputError(label, got=got, wanted=f"decibels, {_MAX_DECIBELS:g} at most")
    if layout.power != DECIBELS and array.min() < 0:
        hint = (
            'a power spectrogram, not negative; for decibels pass power="db", and undo other logs'
        )
        raise InputError(label, got=f"values down to {array.min():.3g}", wanted=hint)


def _check_shape(label: str, array: NDArray[Any], sampling_rate: int, n_fft: int, hop: int) -> None:
    if hop > n_fft:
        got = f"{hop}, with n_fft={n_fft}"
        raise InputError("hop_length", got=got, wanted="n_fft at most: else sound is missing")
    duration_s = array.shape[1] * hop / sampling_rate
    if duration_s > MAX_DURATION_S:
        raise InputError(
            label,
            got=f"{array.shape[1]} frames, {duration_s:.0f} s",
            wanted=f"{MAX_DURATION_S:g} s at most; pass the sound itself, or parts",
        )


def _check_bins(label: str, array: NDArray[Any], n_fft: int, layout: SpectrogramLayout) -> None:
    n_bins, n_frames = array.shape
    wanted_bins = layout.n_mels or n_fft // 2 + 1
    if n_bins == wanted_bins:
        return
    if layout.n_mels:
        expected = f"[{layout.n_mels}, frames], by n_mels"
    else:
        expected = (
            f"[{wanted_bins}, frames], by n_fft={n_fft}; pass n_fft={2 * (n_bins - 1)} if it was "
            f"made so, or n_mels={n_bins} for mel bands"
        )
    if n_frames in (wanted_bins, _LIBROSA_MELS):
        expected += "; or transpose it"
    raise InputError(label, got=f"shape {array.shape}", wanted=expected)


def _magnitudes(
    label: str, array: NDArray[Any], sampling_rate: int, n_fft: int, layout: SpectrogramLayout
) -> NDArray[np.float32]:
    """Magnitudes of linear bins, float32 [n_fft // 2 + 1, n_frames]."""
    in_decibels = layout.power == DECIBELS
    values = 10 ** (array.astype(np.float64) / 10) if in_decibels else array.astype(np.float64)
    is_mel = layout.n_mels is not None or len(array) != n_fft // 2 + 1
    if not (layout.n_mels is None and len(array) == _LIBROSA_MELS):
        _check_bins(label, array, n_fft, layout)
    if is_mel:
        values = _unmelled(values, _mel_filters(len(array), sampling_rate, n_fft, layout))
    exponent = 0.5 if in_decibels else 1 / float(layout.power)
    return np.asarray(values**exponent, np.float32)


def _with_phases(magnitudes: NDArray[np.float32], n_fft: int, hop: int) -> NDArray[np.float32]:
    """Samples whose frames have approximately these magnitudes; at least ``n_fft`` of them."""
    n_frames = max(magnitudes.shape[1], n_fft // hop + 2)
    padded = np.pad(magnitudes, ((0, 0), (0, n_frames - magnitudes.shape[1])))
    return griffin_lim(np.ascontiguousarray(padded.T), n_fft, hop, _PHASE_STEPS)


def _mel_filters(
    n_mels: int, sampling_rate: int, n_fft: int, layout: SpectrogramLayout
) -> NDArray[np.float64]:
    """Weights of each bin in each band, [n_mels, n_fft // 2 + 1]."""
    fmax = layout.fmax or sampling_rate / 2
    if not layout.fmin < fmax <= sampling_rate / 2:
        got = f"{layout.fmin:g} to {fmax:g} Hz"
        raise InputError("fmin, fmax", got=got, wanted=f"within 0 to {sampling_rate / 2:g} Hz")
    return mel_filters(sampling_rate, n_fft, n_mels, layout.fmin, fmax)


def _unmelled(bands: NDArray[np.float64], filters: NDArray[np.float64]) -> NDArray[np.float64]:
    """Non-negative bins [n_bins, n_frames] from which ``filters`` make ``bands``, nearly."""
    from scipy.sparse import csr_array

    forth, back = csr_array(filters), csr_array(filters.T)
    weight = np.maximum(filters.sum(axis=0), _TINY)[:, None]
    heard = np.maximum(filters.sum(axis=1), _TINY)[:, None]
    bins = back @ (bands / heard) / weight
    for _ in range(_MEL_STEPS):
        bins *= back @ (bands / np.maximum(forth @ bins, _TINY)) / weight
    return np.asarray(bins, np.float64)


def _levelled(
    label: str, samples: NDArray[Any], array: NDArray[Any], layout: SpectrogramLayout
) -> NDArray[np.float32]:
    peak = float(np.abs(samples).max())
    if layout.power == DECIBELS and array.max() == 0 and peak > 0:
        samples = samples * (_PEAK / peak)
    elif not peak <= _MAX_PEAK:  # also if it overflows
        raise InputError(
            label,
            got=f"a spectrogram of a sound up to {peak:.4g}",
            wanted="that of a sound in [-1, 1]; name its power (1 for magnitude), or scale it",
        )
    return np.ascontiguousarray(samples, np.float32)

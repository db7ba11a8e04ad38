"""Sound from spectrograms as librosa makes them, so that every model can take them.

Bins are recovered from mel bands by Richardson-Lucy steps (Richardson 1972, Lucy 1974), which fit
loud and soft bands alike; phases by fast Griffin-Lim (`griffin_lim`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from encoder.errors import InputError
from encoder.types import Waveform

Spectra: TypeAlias = NDArray[np.complex64]

_CHUNK_VALUES = 1 << 21
"""Frames are transformed in chunks of this many samples: all at once would take gigabytes."""

_MOMENTUM = 0.99


def stft(samples: NDArray[np.float32], n_fft: int, hop: int) -> Spectra:
    """Spectra [1 + n_samples // hop, n_fft // 2 + 1]."""
    padded = np.pad(samples, n_fft // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
    window = _window(n_fft)
    spectra = np.empty((len(frames), n_fft // 2 + 1), np.complex64)
    for chunk in _chunks(len(frames), n_fft):
        spectra[chunk] = np.fft.rfft(frames[chunk] * window, axis=1)
    return spectra


def istft(spectra: Spectra, n_fft: int, hop: int, n_samples: int) -> NDArray[np.float32]:
    """The sound whose spectra are nearest to these (Griffin and Lim 1984), [n_samples]."""
    n_frames, window = len(spectra), _window(n_fft)
    whole = max(n_fft + hop * (n_frames - 1), n_samples + n_fft // 2)
    total, weight = np.zeros(whole, np.float32), np.zeros(whole, np.float32)
    for chunk in _chunks(n_frames, n_fft):
        frames = np.fft.irfft(spectra[chunk], n_fft, axis=1) * window
        _overlap_add(total[chunk.start * hop :], frames, hop)
        _overlap_add(weight[chunk.start * hop :], np.broadcast_to(window**2, frames.shape), hop)
    heard = weight > np.finfo(np.float32).tiny
    total[heard] /= weight[heard]
    return total[n_fft // 2 : n_fft // 2 + n_samples]


def griffin_lim(
    magnitudes: NDArray[np.float32], n_fft: int, hop: int, n_steps: int
) -> NDArray[np.float32]:
    """A sound whose spectra have approximately these magnitudes; the same every time.

    Fast Griffin-Lim (Perraudin, Balazs and Søndergaard 2013) from random phases, of magnitudes
    [n_frames, n_fft // 2 + 1], at least ``n_fft / hop`` frames. ``hop * (n_frames - 1)`` samples,
    one more where frames have an odd length.
    """
    n_frames, n_bins = magnitudes.shape
    turns = np.random.RandomState(0).random(size=(n_bins, n_frames)).T
    spectra = np.exp(2j * np.pi * turns).astype(np.complex64) * magnitudes
    n_samples, last_spectrum = hop * (n_frames - 1) + n_fft % 2, None
    for _ in range(n_steps):
        rebuilt = stft(istft(spectra, n_fft, hop, n_samples), n_fft, hop)
        spectra[:] = rebuilt
        if last_spectrum is not None:
            last_spectrum *= _MOMENTUM / (1 + _MOMENTUM)
            spectra -= last_spectrum
        spectra /= np.abs(spectra) + np.finfo(np.float32).tiny
        spectra *= magnitudes
        last_spectrum = rebuilt
    return istft(spectra, n_fft, hop, n_samples)


def mel_filters(
    sampling_rate: int, n_fft: int, n_mels: int, fmin: float, fmax: float
) -> NDArray[np.float64]:
    """Weights of each bin in each band, [n_mels, n_fft // 2 + 1], on Slaney's scale (1998).

    A band is a triangle over its neighbours' middles, and its area over the frequencies is 1.
    """
    ends = _to_mel(np.array([fmin, fmax]))
    edges = _from_mel(np.linspace(ends[0], ends[1], n_mels + 2))[:, None]
    bins = np.fft.rfftfreq(n_fft, 1 / sampling_rate)
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (bins - low) / (middle - low), (high - bins) / (high - middle)
    return np.asarray(np.maximum(0, np.minimum(rising, falling)) * 2 / (high - low), np.float64)


# Slaney's scale is linear up to 1 kHz, 15 mel, and then 27 mel for each factor of 6.4.
_LINEAR_HZ, _LINEAR_MEL = 1000.0, 15.0
_OCTAVE = np.log(6.4) / 27


def _to_mel(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    above = _LINEAR_MEL + np.log(np.maximum(hz, _LINEAR_HZ) / _LINEAR_HZ) / _OCTAVE
    return np.where(hz < _LINEAR_HZ, hz * _LINEAR_MEL / _LINEAR_HZ, above)


def _from_mel(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    above = _LINEAR_HZ * np.exp(_OCTAVE * (np.maximum(mel, _LINEAR_MEL) - _LINEAR_MEL))
    return np.where(mel < _LINEAR_MEL, mel * _LINEAR_HZ / _LINEAR_MEL, above)


def _window(n_fft: int) -> NDArray[np.float64]:
    """Hann's window, periodic."""
    return np.hanning(n_fft + 1)[:-1]


def _chunks(n_frames: int, n_fft: int) -> Iterator[slice]:
    step = max(1, _CHUNK_VALUES // n_fft)
    return (slice(at, min(at + step, n_frames)) for at in range(0, n_frames, step))


def _overlap_add(total: NDArray[np.float32], frames: NDArray[Any], hop: int) -> None:
    """Add frames [n, n_fft] to ``total`` in place, each a hop after the one before it."""
    n, n_fft = frames.shape
    # the earliest frame comes first everywhere, since the order of a sum shows in its last digit
    for at in reversed(range(0, n_fft, hop)):
        block = frames[:, at : at + hop]
        rows = np.lib.stride_tricks.sliding_window_view(total[at:], block.shape[1], writeable=True)
        rows[: hop * n : hop] += block


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
    """How a spectrogram array was made, see `MultiModalEncoder.encode_multimodal`.

    Frames are centred and have a Hann window; mel bands have Slaney's scale and norm, and decibels
    are those of power. Defaults are librosa's.

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

    As librosa's ``stft``, ``melspectrogram``, ``power_to_db`` or ``amplitude_to_db`` return it;
    decibels whose highest value is 0 (``ref=np.max``) have no level. ``label`` names it in errors.

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
        n_frames = max(magnitudes.shape[1], n_fft // hop + 2)  # phases need so many
        padded = np.pad(magnitudes, ((0, 0), (0, n_frames - magnitudes.shape[1])))
        samples = griffin_lim(np.ascontiguousarray(padded.T), n_fft, hop, _PHASE_STEPS)[:n_samples]
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
        fmax = layout.fmax or sampling_rate / 2
        if not layout.fmin < fmax <= sampling_rate / 2:
            got = f"{layout.fmin:g} to {fmax:g} Hz"
            raise InputError("fmin, fmax", got=got, wanted=f"within 0 to {sampling_rate / 2:g} Hz")
        filters = mel_filters(sampling_rate, n_fft, len(array), layout.fmin, fmax)
        values = _unmelled(values, filters)
    exponent = 0.5 if in_decibels else 1 / float(layout.power)
    return np.asarray(values**exponent, np.float32)


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

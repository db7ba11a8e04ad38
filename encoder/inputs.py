"""Turn what a caller passes into items, or say what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.errors import InputError
from encoder.media.spectrogram import SpectrogramLayout, to_sound
from encoder.types import (
    AUDIO,
    DOCUMENT,
    IMAGE,
    TEXT,
    VIDEO,
    Clip,
    Item,
    Modality,
    Role,
    Waveform,
)

_CHANNELS = (1, 3, 4)
_MAX_CHANNELS = 32
# Samples per channel: fewer look like bins and frames, or features.
_LEAST_STEREO, _LEAST_CHANNELS = 16, 1024
# Float sound beyond this is not a loud recording but integer samples in disguise.
_MAX_PEAK = 32.0


@dataclass(frozen=True)
class ArgumentItems:
    """The items of one argument; ``single`` if the caller passed one value and not a list."""

    items: Sequence[Item]
    single: bool


@dataclass(frozen=True)
class AudioFormat:
    """How bare sound arrays are to be read."""

    sampling_rate: int = 16_000
    kind: str = "waveform"
    layout: SpectrogramLayout = field(default_factory=SpectrogramLayout)

    def __post_init__(self) -> None:
        if self.kind == "waveform" and self.layout != SpectrogramLayout():
            raise InputError(
                "audio_kind", got="'waveform' with a spectrogram's layout", wanted="'spectrogram'"
            )
        if self.kind not in ("waveform", "spectrogram"):
            raise InputError(
                "audio_kind", got=repr(self.kind), wanted="'waveform' or 'spectrogram'"
            )
        if not 1_000 <= self.sampling_rate <= 768_000:
            raise InputError(
                "sampling_rate", got=f"{self.sampling_rate} Hz", wanted="1,000 to 768,000 Hz"
            )


def read_arguments(
    values: Mapping[str, Any], audio: AudioFormat, role: Role
) -> dict[Modality, ArgumentItems]:
    """The items of each argument that was passed; raises an InputError if there is none."""
    batches = {
        Modality(name): read_argument(name, value, audio, role)
        for name, value in values.items()
        if value is not None
    }
    if not batches:
        expected = "text, image, audio or video"
        raise InputError("encode_multimodal", got="no content", wanted=expected)
    return batches


def read_argument(
    name: str, value: Any, audio: AudioFormat, role: Role = DOCUMENT
) -> ArgumentItems:
    """Validate one argument of ``encode_multimodal``: one value, or several.

    Raises:
        InputError: names the argument (``image[2]``), what came and what is wanted.
        MediaError: a path does not lead to media that can be decoded.
    """
    # What a plug-in's content looks like is up to its tower; `prepare` validates it.
    read = _READERS.get(name)
    several = _several(name, value)
    single, values = several is None, [value] if several is None else several
    if not values:
        raise InputError(name, got="an empty list", wanted="at least one item")
    labels = [name] if single else [f"{name}[{i}]" for i in range(len(values))]
    contents = [
        read(label, value, audio) if read else value
        for label, value in zip(labels, values, strict=True)
    ]
    return ArgumentItems([Item(Modality(name), content, role) for content in contents], single)


def _several(name: str, value: Any) -> list[Any] | None:
    """The values in a list, a table's column, a generator or a batch; None for one value."""
    if isinstance(value, list):
        return value
    if name not in _READERS:  # only its tower knows what else could be several
        return list(value) if isinstance(value, tuple) else None
    n_axes = getattr(value, "ndim", None)  # an array, a tensor, a column of a table
    if n_axes is not None:
        is_numeric = getattr(value.dtype, "kind", "f") in "biufc"
        holds_items = n_axes == 1 and (name == TEXT or not is_numeric)
        return list(value) if holds_items or (name == IMAGE and n_axes == 4) else None
    if isinstance(value, tuple):
        is_pair = name == VIDEO or (name == AUDIO and _is_rated(value))
        return None if is_pair else list(value)
    if isinstance(value, str | bytes | Mapping | set | frozenset):  # a set has no order
        return None
    return list(value) if isinstance(value, Iterable) else None


def _is_rated(value: Any) -> bool:
    """Whether this is ``(samples, rate)``."""
    is_pair = isinstance(value, tuple) and len(value) == 2
    return is_pair and isinstance(value[1], int | np.integer) and hasattr(value[0], "__array__")


def read_text(label: str, value: Any, _: AudioFormat) -> str:
    """A non-empty string."""
    if not isinstance(value, str):
        raise InputError(label, got=f"a {type(value).__name__}", wanted="a str or a list of str")
    if not value.strip():
        raise InputError(label, got="an empty text", wanted="at least one visible character")
    return value


def read_image(label: str, value: Any, _: AudioFormat) -> NDArray[np.uint8]:
    """A path, a PIL image or an array; uint8 RGB [height, width, 3]."""
    from encoder.media.image import load_image, rgb_array

    if isinstance(value, str | Path):
        return load_image(_existing(label, value))
    if hasattr(value, "getbands"):  # a PIL image, recognised without importing PIL
        return rgb_array(value)
    array = _array(label, value, "an array [height, width, 3], a PIL image or a path")
    return _rgb(label, array)


def _rgb(label: str, array: NDArray[Any]) -> NDArray[np.uint8]:
    expected = (
        "uint8 or float 0..1, [height, width], [height, width, 1 | 3 | 4] or "
        "[1 | 3 | 4, height, width]"
    )
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim == 3 and array.shape[2] not in _CHANNELS and array.shape[0] in _CHANNELS:
        array = np.moveaxis(array, 0, 2)
    if array.ndim != 3 or array.shape[2] not in _CHANNELS or 0 in array.shape:
        raise InputError(label, got=f"shape {array.shape}", wanted=expected)
    pixels = _as_uint8(label, array, expected)
    if pixels.shape[2] == 4:
        alpha = pixels[:, :, 3:].astype(np.float32) / 255
        over_white = pixels[:, :, :3] * alpha + 255 * (1 - alpha)
        return np.ascontiguousarray(over_white.round().astype(np.uint8))
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def _as_uint8(label: str, array: NDArray[Any], expected: str) -> NDArray[np.uint8]:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError(label, got=f"dtype {array.dtype}", wanted=expected)
    _check_finite(label, array)
    if array.min() < 0 or array.max() > 1:
        span = f"floats from {array.min():.3g} to {array.max():.3g}"
        raise InputError(label, got=span, wanted=expected)
    return (array * 255).round().astype(np.uint8)


def read_audio(label: str, value: Any, audio: AudioFormat) -> Waveform:
    """A path, a `Waveform`, ``(samples, rate)`` or an array that ``audio`` describes.

    An array that is a spectrogram is turned back into sound.
    """
    from encoder.media.sound import load_sound

    if isinstance(value, str | Path):
        return load_sound(_existing(label, value))
    if _is_rated(value):
        value = Waveform(value[0], int(value[1]))
    if isinstance(value, Waveform):
        rate = AudioFormat(value.sampling_rate).sampling_rate
        return Waveform(_mono(label, np.asarray(value.samples)), rate)
    array = _array(label, value, "an array of samples [n], a Waveform or a path")
    if audio.kind == "spectrogram":
        return to_sound(label, array, audio.sampling_rate, audio.layout)
    return Waveform(_mono(label, array), audio.sampling_rate)


def _mono(label: str, array: NDArray[Any]) -> NDArray[np.float32]:
    expected = "samples [n] or [channels, n], float in [-1, 1] or int16, at least one"
    if array.ndim not in (1, 2) or array.size == 0:
        raise InputError(label, got=f"shape {array.shape}", wanted=expected)
    if array.ndim == 2 and not _are_channels(min(array.shape), max(array.shape)):
        hint = (
            f"; {_LEAST_STEREO} samples or more for each of two channels, {_LEAST_CHANNELS:,} for "
            f'each of up to {_MAX_CHANNELS}; for a spectrogram pass audio_kind="spectrogram"'
        )
        raise InputError(label, got=f"shape {array.shape}", wanted=expected + hint)
    if np.issubdtype(array.dtype, np.signedinteger):
        samples = array.astype(np.float32) / (float(np.iinfo(array.dtype).max) + 1)
    elif np.issubdtype(array.dtype, np.floating):
        samples = array.astype(np.float32)
    else:
        raise InputError(label, got=f"dtype {array.dtype}", wanted=expected)
    _check_finite(label, samples)
    if (peak := float(np.abs(samples).max())) > _MAX_PEAK:
        raise InputError(label, got=f"floats up to {peak:.4g}", wanted=expected)
    if samples.ndim == 2:
        samples = samples.mean(axis=int(np.argmin(samples.shape)))
    return np.ascontiguousarray(samples, dtype=np.float32)


def _are_channels(n_channels: int, n_samples: int) -> bool:
    """Whether this is the shape of a sound, and not of a spectrogram or of features."""
    if n_channels == 1:
        return True
    least = _LEAST_STEREO if n_channels == 2 else _LEAST_CHANNELS
    return n_channels <= _MAX_CHANNELS and n_samples >= least * n_channels


def read_video(label: str, value: Any, audio: AudioFormat) -> Clip | Path:
    """A path (decoded later, as a stream), a `Clip`, frames, or ``(frames, waveform)``."""
    if isinstance(value, str | Path):
        return _existing(label, value)
    if isinstance(value, Clip):
        value = (value.frames, value.sound)
    frames, sound = value if isinstance(value, tuple) and len(value) == 2 else (value, None)
    array = _array(f"{label} frames", frames, "a path, frames [n, h, w, 3] or (frames, waveform)")
    if array.ndim != 4 or len(array) == 0:
        raise InputError(
            f"{label} frames", got=f"shape {array.shape}", wanted="[n, height, width, channels]"
        )
    rgb = np.stack([_rgb(f"{label} frames[{i}]", frame) for i, frame in enumerate(array)])
    heard = None if sound is None else read_audio(f"{label} sound", sound, audio)
    return Clip(rgb, heard)


def _array(label: str, value: Any, expected: str) -> NDArray[Any]:
    if value is None or not hasattr(value, "__array__"):
        raise InputError(label, got=f"a {type(value).__name__}", wanted=expected)
    return np.asarray(value)


def _check_finite(label: str, array: NDArray[Any]) -> None:
    if not np.isfinite(array).all():
        n_bad = int(array.size - np.isfinite(array).sum())
        raise InputError(label, got=f"{n_bad} values that are NaN or infinite", wanted="none")


def _existing(label: str, path: str | Path) -> Path:
    resolved = Path(path).expanduser()
    if not resolved.is_file():
        raise InputError(label, got=f"path {str(path)!r}, not a file", wanted="a media file")
    return resolved


_READERS: dict[str, Callable[[str, Any, AudioFormat], Any]] = {
    TEXT: read_text,
    IMAGE: read_image,
    AUDIO: read_audio,
    VIDEO: read_video,
}

"""What hub networks take for pictures and sounds, made without torch.

The image processors in transformers have a form for Pillow and numpy. So do the feature extractors,
except CLAP's, which needs torch to cut long sounds; towers cut them first, so it is rewritten
here without that.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.errors import ModelError
from encoder.runtime.base import Array
from encoder.system import extras

_PLACES = "image_position_ids"
"""The place of each patch: int64 [n, n_patches, 2]."""


def open_pictures(
    path: Path, inputs: Mapping[str, str], options: Mapping[str, Any]
) -> Callable[[Sequence[NDArray[np.uint8]]], Mapping[str, Array]]:
    """An image processor of transformers, with the settings in ``path``.

    ``inputs`` are the names and dtypes of what the graph takes; each call gets the ``options``.

    Raises:
        MissingExtraError: transformers is not installed.
        ModelError: transformers has no such processor that runs without torch.
    """
    processor = _open(json.loads(path.read_text("utf-8")), "image_processor_type", "Pil")

    def read(pictures: Sequence[NDArray[np.uint8]]) -> Mapping[str, Array]:
        from PIL import Image

        # An array three rows high would be read as channels first.
        images = [Image.fromarray(pixels) for pixels in pictures]
        return _unpadded(_arrays(processor(images=images, return_tensors="np", **options), inputs))

    return read


def _unpadded(inputs: Mapping[str, Array]) -> Mapping[str, Array]:
    """Leave out the patches that are padding in every picture, which have no place (-1).

    They cost as much as others, and attention with a mask costs three times as much.
    """
    places = inputs.get(_PLACES)
    if places is None:
        return inputs
    n_real = int(np.flatnonzero((places != -1).any(axis=(0, 2)))[-1]) + 1
    return {name: array[:, :n_real] for name, array in inputs.items()}


def open_sounds(
    path: Path, inputs: Mapping[str, str], options: Mapping[str, Any]
) -> Callable[[NDArray[np.float32]], Mapping[str, Array]]:
    """A feature extractor of transformers; see `open_pictures`."""
    settings = json.loads(path.read_text("utf-8"))
    rate = int(settings["sampling_rate"])
    if settings["feature_extractor_type"] == "ClapFeatureExtractor":
        return ClapFeatures(settings)
    extract = _open(settings, "feature_extractor_type", "")

    def read(samples: NDArray[np.float32]) -> Mapping[str, Array]:
        features = extract([samples], sampling_rate=rate, return_tensors="np", **options)
        return _arrays(features, inputs)

    return read


class ClapFeatures:
    """Log-mel spectrograms as `transformers.ClapFeatureExtractor` makes them of short sounds."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        audio_utils = _transformers("audio_utils")
        self._utils = audio_utils
        self._settings = settings
        self._is_fusion = settings["truncation"] == "fusion"
        self._most = int(settings["max_length_s"] * settings["sampling_rate"])
        self._filters = audio_utils.mel_filter_bank(
            num_frequency_bins=settings["fft_window_size"] // 2 + 1,
            num_mel_filters=settings["feature_size"],
            min_frequency=settings["frequency_min"],
            max_frequency=settings["frequency_max"],
            sampling_rate=settings["sampling_rate"],
            norm=None if self._is_fusion else "slaney",
            mel_scale="htk" if self._is_fusion else "slaney",
        )

    def __call__(self, samples: NDArray[np.float32]) -> Mapping[str, Array]:
        """``input_features``, float32 [1, 1 or 4, n_frames, n_mels]."""
        size = int(self._settings["fft_window_size"])
        mel = self._utils.spectrogram(
            self._filled(samples.astype(np.float64)),
            self._utils.window_function(size, "hann"),
            frame_length=size,
            hop_length=self._settings["hop_length"],
            power=2.0,
            mel_filters=self._filters,
            log_mel="dB",
        )
        views = np.asarray(mel.T, np.float32)[None, None]
        # a network with fusion takes four views, which are the same for a short sound
        return {"input_features": views.repeat(4, axis=1) if self._is_fusion else views}

    def _filled(self, samples: NDArray[np.float64]) -> NDArray[np.float64]:
        samples = samples[: self._most]
        n_times = self._most // len(samples)
        padding = self._settings["padding"]
        if padding == "repeat":
            samples = np.tile(samples, n_times + 1)[: self._most]
        elif padding == "repeatpad":
            samples = np.tile(samples, n_times)
        return np.pad(samples, (0, self._most - len(samples)))


def _open(settings: Mapping[str, Any], key: str, suffix: str) -> Any:
    transformers = _transformers()
    name = str(settings[key]).removesuffix("Fast").removesuffix("Pil") + suffix
    try:
        return getattr(transformers, name).from_dict(dict(settings))
    except (AttributeError, ImportError) as error:
        raise ModelError(
            f"This version of transformers has no {name} that runs without torch: {error}.",
            remedy="Install the version that pyproject.toml names, or use quantization=None.",
        ) from error


def _transformers(module: str = "") -> Any:
    from importlib import import_module

    extras.require("A hub model's reading of pictures and sounds", "transformers")
    return import_module(f"transformers.{module}" if module else "transformers")


def _arrays(features: Mapping[str, Any], inputs: Mapping[str, str]) -> Mapping[str, Array]:
    return {name: np.asarray(features[name]).astype(dtype) for name, dtype in inputs.items()}

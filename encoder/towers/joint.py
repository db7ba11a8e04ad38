"""Towers of models that take images, sounds and films themselves, exported or through torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from encoder.media.video import load_clip
from encoder.space import l2_normalize
from encoder.towers.base import Encoded, Prepared
from encoder.types import (
    AUDIO,
    DOCUMENT,
    IMAGE,
    Clip,
    Embeddings,
    Item,
    Role,
    Waveform,
)


def film_items(content: Clip | Path, max_frames: int, role: Role = DOCUMENT) -> list[Item]:
    """The frames (evenly spread, at most ``max_frames``) and the sound track, if there is one."""
    clip = content if isinstance(content, Clip) else load_clip(content, max_frames=max_frames)
    picked = np.linspace(0, len(clip.frames) - 1, min(max_frames, len(clip.frames)))
    items = [Item(IMAGE, clip.frames[round(i)], role) for i in picked]
    return items if clip.sound is None else [*items, Item(AUDIO, clip.sound, role)]


def pool_film(frames: Embeddings, sound: Embeddings) -> Embeddings:
    """One embedding [embed_dim] for frames [n, embed_dim] and sound [0 or 1, embed_dim].

    The mean frame and the sound weigh the same.
    """
    views = [rows.mean(axis=0) for rows in (frames, sound) if len(rows)]
    return l2_normalize(np.sum(views, axis=0))


# Shorter sound gives some feature extractors not a single frame.
_MIN_SOUND_S = 0.1


def sound_windows(content: Waveform, rate: int, window_s: float) -> list[NDArray[np.float32]]:
    """The samples at ``rate`` Hz in equal windows of at most ``window_s`` seconds."""
    samples = _resampled(content, rate)
    return np.array_split(samples, math.ceil(len(samples) / (window_s * rate)))


def mean_of_windows(rows: Embeddings, batch: Sequence[Prepared]) -> Embeddings:
    """One unit row for each sound, from one row for each window of all of them."""
    ends = np.cumsum([len(prepared) for prepared in batch])
    return l2_normalize(np.stack([windows.mean(axis=0) for windows in np.split(rows, ends[:-1])]))


def objects(values: Sequence[Any]) -> NDArray[np.object_]:
    """An array of any values: object [len(values)]."""
    array = np.empty(len(values), dtype=object)
    for index, value in enumerate(values):  # `array[:] = values` would unfold equal shapes
        array[index] = value
    return array


def _resampled(sound: Waveform, rate: int) -> NDArray[np.float32]:
    missing = math.ceil(_MIN_SOUND_S * sound.sampling_rate) - len(sound.samples)
    samples = np.pad(sound.samples, (0, max(missing, 0)))
    if sound.sampling_rate == rate:
        return samples
    import soxr

    n_samples = math.ceil(len(samples) * rate / sound.sampling_rate)
    resampled = soxr.resample(samples, sound.sampling_rate, rate, "HQ")[:n_samples]
    return np.pad(resampled, (0, n_samples - len(resampled)))


ReadImages: TypeAlias = Callable[[Sequence[NDArray[np.uint8]]], Any]
"""From one image, or the frames of one film, to what the network takes."""
ReadSound: TypeAlias = Callable[[NDArray[np.float32]], Any]
"""The same from one window of sound."""
Embed: TypeAlias = Callable[[Sequence[Any]], Embeddings]
"""Runs the network: unit rows, one for each of the inputs."""


class JointImageTower:
    """Pictures, uint8 RGB [height, width, 3], read by the model's image processor."""

    def __init__(self, read: ReadImages, embed: Embed) -> None:
        self._read = read
        self._embed = embed

    def prepare(self, content: NDArray[np.uint8]) -> Prepared:
        """The network's inputs: object [1]."""
        return objects([self._read([content])])

    def forward(self, batch: Sequence[Prepared]) -> Encoded:
        return Encoded(self._embed([prepared[0] for prepared in batch]))


class JointSoundTower:
    """Sound, in windows that the model can take whole; their mean is the embedding.

    No part of a sound longer than ``window_s`` is dropped or picked at random.
    """

    def __init__(self, read: ReadSound, embed: Embed, sampling_rate: int, window_s: float) -> None:
        self._read = read
        self._embed = embed
        self._rate = sampling_rate
        self._window_s = window_s

    def prepare(self, content: Waveform) -> Prepared:
        """The network's inputs for each window: object [n_windows]."""
        windows = sound_windows(content, self._rate, self._window_s)
        return objects([self._read(window) for window in windows])

    def forward(self, batch: Sequence[Prepared]) -> Encoded:
        rows = self._embed([window for prepared in batch for window in prepared])
        return Encoded(mean_of_windows(rows, batch))


class JointVideoTower:
    """Films: the frames together as one input, pooled with the sound track as another.

    ``max_frames`` are evenly spread; without ``sound``, the sound track is left out.
    """

    def __init__(
        self, read: ReadImages, embed: Embed, max_frames: int, sound: JointSoundTower | None
    ) -> None:
        self._read = read
        self._embed = embed
        self._max_frames = max_frames
        self._sound = sound

    def prepare(self, content: Clip | Path) -> Prepared:
        """The network's inputs for the frames, then for each window of sound: object [1 + n]."""
        items = [item.content for item in film_items(content, self._max_frames)]
        frames = [content for content in items if not isinstance(content, Waveform)]
        windows = [
            window
            for content in items
            if self._sound and isinstance(content, Waveform)
            for window in self._sound.prepare(content)
        ]
        return objects([self._read(frames), *windows])

    def forward(self, batch: Sequence[Prepared]) -> Encoded:
        return Encoded(np.stack([self._pooled(prepared) for prepared in batch]))

    def _pooled(self, prepared: Prepared) -> Embeddings:
        rows_of_frames = self._embed([prepared[0]])
        windows = prepared[1:]
        rows_of_sound = rows_of_frames[:0]
        if self._sound and len(windows):
            rows_of_sound = self._sound.forward([windows]).rows
        return pool_film(rows_of_frames, rows_of_sound)

"""Towers of models that take images, sounds and films themselves, exported or through torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from encoder.towers import video
from encoder.towers.audio.windows import mean_of_windows, objects, sound_windows
from encoder.towers.base import Prepared
from encoder.towers.encoded import Encoded
from encoder.types import Clip, Embeddings, Spectrogram, Waveform

ReadImages: TypeAlias = Callable[[Sequence[NDArray[np.uint8]]], Any]
"""From one image, or the frames of one film, to what the network takes."""
ReadSound: TypeAlias = Callable[[NDArray[np.float32]], Any]
"""The same from one window of sound."""


class VectorHead(Protocol):
    """From a network's inputs to vectors."""

    def embed(self, inputs: Sequence[Any]) -> Embeddings:
        """Unit rows, one for each of the inputs."""
        ...


class JointImageTower:
    """Pictures, uint8 RGB [height, width, 3].

    Args:
        read: the model's image processor.
        head: the network.
    """

    def __init__(self, read: ReadImages, head: VectorHead) -> None:
        self._read = read
        self._head = head

    def prepare(self, content: NDArray[np.uint8]) -> Prepared:
        """The network's inputs: object [1]."""
        return objects([self._read([content])])

    def forward(self, batch: Sequence[Prepared]) -> Encoded:
        return Encoded(self._head.embed([prepared[0] for prepared in batch]))


class JointSoundTower:
    """Sound, in windows that the model can take whole; their mean is the embedding.

    Args:
        name: what errors call the model.
        read: the model's feature extractor.
        head: the network.
        sampling_rate: what the model takes, in Hz.
        window_s: the longest window. No part of a longer sound is dropped or picked at random.
    """

    def __init__(
        self, name: str, read: ReadSound, head: VectorHead, sampling_rate: int, window_s: float
    ) -> None:
        self._name = name
        self._read = read
        self._head = head
        self._rate = sampling_rate
        self._window_s = window_s

    def prepare(self, content: Waveform | Spectrogram) -> Prepared:
        """The network's inputs for each window: object [n_windows].

        Raises:
            InputError: a spectrogram came; these models take samples.
        """
        windows = sound_windows(self._name, content, self._rate, self._window_s)
        return objects([self._read(window) for window in windows])

    def forward(self, batch: Sequence[Prepared]) -> Encoded:
        rows = self._head.embed([window for prepared in batch for window in prepared])
        return Encoded(mean_of_windows(rows, batch))


class JointVideoTower:
    """Films: the frames together as one input, pooled with the sound track as another.

    Args:
        read: the model's processor of frames.
        head: the network.
        max_frames: the most frames, evenly spread.
        sound: for the sound track; None leaves it out.
    """

    def __init__(
        self, read: ReadImages, head: VectorHead, max_frames: int, sound: JointSoundTower | None
    ) -> None:
        self._read = read
        self._head = head
        self._max_frames = max_frames
        self._sound = sound

    def prepare(self, content: Clip | Path) -> Prepared:
        """The network's inputs for the frames, then for each window of sound: object [1 + n]."""
        items = [item.content for item in video.parts(content, self._max_frames)]
        frames = [content for content in items if not isinstance(content, Waveform)]
        sounds = (
            [content for content in items if isinstance(content, Waveform)] if self._sound else []
        )
        windows = [
            window
            for sound_track in sounds
            if self._sound
            for window in self._sound.prepare(sound_track)
        ]
        return objects([self._read(frames), *windows])

    def forward(self, batch: Sequence[Prepared]) -> Encoded:
        return Encoded(np.stack([self._embed(prepared) for prepared in batch]))

    def _embed(self, prepared: Prepared) -> Embeddings:
        rows_of_frames = self._head.embed([prepared[0]])
        windows = prepared[1:]
        rows_of_sound = (
            self._sound.forward([windows]).rows
            if self._sound and len(windows)
            else rows_of_frames[:0]
        )
        return video.pool(rows_of_frames, rows_of_sound)

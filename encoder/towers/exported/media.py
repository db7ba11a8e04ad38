"""Towers of an exported model for pictures, sounds and films."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from encoder.runtime.base import Array, Session, run_all
from encoder.towers import video
from encoder.towers.audio.windows import mean_of_windows, objects, sound_windows
from encoder.towers.base import Prepared
from encoder.towers.encoded import Encoded
from encoder.towers.exported.text import TextGraph, unit_rows
from encoder.types import Clip, Embeddings, Spectrogram, Waveform

Inputs: TypeAlias = Mapping[str, Array]
"""What a graph takes for one picture, one window of sound or the frames of one film."""

ReadPictures: TypeAlias = Callable[[Sequence[NDArray[np.uint8]]], Inputs]
ReadSound: TypeAlias = Callable[[NDArray[np.float32]], Inputs]


class Head(Protocol):
    """From a graph's inputs to vectors."""

    def embed(self, inputs: Sequence[Inputs]) -> Embeddings:
        """Unit rows, one for each of the inputs."""
        ...


class OwnHead:
    """A graph that gives vectors.

    Args:
        name: what errors call the model.
        session: gives vectors [n, embed_dim].
    """

    def __init__(self, name: str, session: Session) -> None:
        self._name = name
        self._session = session

    def embed(self, inputs: Sequence[Inputs]) -> Embeddings:
        """See `Head.embed`."""
        outputs = run_all(self._session, inputs)
        return unit_rows(self._name, np.concatenate([rows for rows, *_ in outputs]))


@dataclass(frozen=True)
class SoftTokens:
    """Where soft tokens stand among a text's tokens.

    Args:
        before: ids before the first group.
        between: ids between two groups; a film's frames are groups.
        after: ids after the last group.
        token_id: the id in the place of each soft token.
    """

    before: Sequence[int]
    between: Sequence[int]
    after: Sequence[int]
    token_id: int

    def ids(self, n_tokens: int, n_groups: int) -> NDArray[np.int64]:
        """The ids, int64 [1, length], for soft tokens in groups of one size."""
        group = [self.token_id] * (n_tokens // n_groups)
        groups = [*([*group, *self.between] * (n_groups - 1)), *group]
        return np.asarray([[*self.before, *groups, *self.after]], np.int64)


class TextHead:
    """A graph that gives soft tokens, which the text network reads.

    Args:
        session: gives soft tokens [n_soft, width]; the first axis of its inputs is the groups.
        graph: the text network.
        form: where the soft tokens stand.
    """

    def __init__(self, session: Session, graph: TextGraph, form: SoftTokens) -> None:
        self._session = session
        self._graph = graph
        self._form = form

    def embed(self, inputs: Sequence[Inputs]) -> Embeddings:
        """See `Head.embed`."""
        soft = [tokens for tokens, *_ in run_all(self._session, inputs)]
        ids = [
            self._form.ids(len(tokens), len(next(iter(tensors.values()))))
            for tokens, tensors in zip(soft, inputs, strict=True)
        ]
        return self._graph.embed(ids, soft)


class ExportedImageTower:
    """Pictures, uint8 RGB [height, width, 3].

    Args:
        read: the model's image processor.
        head: the network.
    """

    def __init__(self, read: ReadPictures, head: Head) -> None:
        self._read = read
        self._head = head

    def prepare(self, content: NDArray[np.uint8]) -> Prepared:
        """The graph's inputs: object [1]."""
        return objects([self._read([content])])

    def forward(self, batch: Sequence[Prepared]) -> Encoded:
        """See `encoder.towers.base.Tower.forward`."""
        return Encoded(self._head.embed([prepared[0] for prepared in batch]))


class ExportedSoundTower:
    """Sound, in windows that the model can take whole; their mean is the embedding.

    Args:
        name: what errors call the model.
        read: the model's feature extractor.
        head: the network.
        sampling_rate: what the model takes, in Hz.
        window_s: the longest window. No part of a longer sound is dropped or picked at random.
    """

    def __init__(
        self, name: str, read: ReadSound, head: Head, sampling_rate: int, window_s: float
    ) -> None:
        self._name = name
        self._read = read
        self._head = head
        self._rate = sampling_rate
        self._window_s = window_s

    def prepare(self, content: Waveform | Spectrogram) -> Prepared:
        """The graph's inputs for each window: object [n_windows].

        Raises:
            InputError: a spectrogram came; these models take samples.
        """
        windows = sound_windows(self._name, content, self._rate, self._window_s)
        return objects([self._read(window) for window in windows])

    def forward(self, batch: Sequence[Prepared]) -> Encoded:
        """See `encoder.towers.base.Tower.forward`."""
        rows = self._head.embed([window for prepared in batch for window in prepared])
        return Encoded(mean_of_windows(rows, batch))


class ExportedVideoTower:
    """Films: the frames together as one input, pooled with the sound track as another.

    Args:
        read: the model's processor of frames.
        head: the network.
        max_frames: the most frames, evenly spread.
        sound: for the sound track; None leaves it out.
    """

    def __init__(
        self, read: ReadPictures, head: Head, max_frames: int, sound: ExportedSoundTower | None
    ) -> None:
        self._read = read
        self._head = head
        self._max_frames = max_frames
        self._sound = sound

    def prepare(self, content: Clip | Path) -> Prepared:
        """The graph's inputs for the frames, then for windows of sound: object [1 + n_windows]."""
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
        """See `encoder.towers.base.Tower.forward`."""
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

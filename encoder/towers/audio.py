"""The audio tower: what is heard becomes a point in the space of sentences."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from encoder.runtime.base import Session
from encoder.towers.base import Prepared, Tower
from encoder.towers.logmel import mel_power, resample, scale
from encoder.towers.sound_labels import (
    SoundLabels,
    load_sound_labels,
    point,
    ucs_probabilities,
)
from encoder.types import Embeddings, Spectrogram, Waveform

Blocks: TypeAlias = NDArray[np.void]
"""A prepared sound: a structured array [n_blocks], see `AudioTower.prepare`."""

BLOCK_FRAMES = 100
SPEECH_RATE = 16_000
# Frames this far below the loudest are silence: 60 dB.
_SILENCE = 1e-6
# What may stay unheard between two blocks, about half a second.
_MAX_GAP_FRAMES = 20
# The network's activations take 25 MB a block.
_BLOCKS_AT_ONCE = 4


class AudioTower:
    """Sounds to embeddings.

    Args:
        session: takes ``blocks`` float32 [n, 100, 96]; see `encoder.networks.aisfx`.
        labels: names of sounds and their places in the space.
    """

    def __init__(self, session: Session, labels: SoundLabels) -> None:
        self._session = session
        self._labels = labels

    def prepare(self, content: Waveform | Spectrogram) -> Blocks:
        """Blocks of sound [n_blocks], a structured array with the fields

        ``mel`` float32 [100, 96]: about 2.3 s of the scaled log-mel spectrogram;
        ``samples`` float32 [n]: one part of the sound at 16 kHz, and ``n_samples`` how many of
        them there are (none for a spectrogram).

        Raises:
            InputError: a spectrogram that the network cannot use; says which it can.
        """
        blocks = cut(mel_power(content))
        heard = resample(content, SPEECH_RATE) if isinstance(content, Waveform) else _NOTHING
        return pack(blocks, heard)

    def forward(self, batch: Sequence[Prepared]) -> Embeddings:
        """See `encoder.towers.base.Tower.forward`."""
        return np.stack([self._embed(cast(Blocks, item)) for item in batch])

    def _embed(self, item: Blocks) -> NDArray[np.float32]:
        _, *logits = self._listen(item["mel"])
        return point(ucs_probabilities(logits, self._labels), self._labels.ucs)

    def _listen(self, mel: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        parts = [
            self._session.run({"blocks": mel[i : i + _BLOCKS_AT_ONCE]})
            for i in range(0, len(mel), _BLOCKS_AT_ONCE)
        ]
        return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]


_NOTHING = np.zeros(0, np.float32)


def cut(power: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cut mel power [n_frames, 96] into scaled blocks, float32 [n_blocks, 100, 96].

    Silence at both ends is left out; the blocks are evenly spread over the rest, and may
    overlap. A short sound is padded with silence.
    """
    loudness = power.sum(axis=1)
    loud = np.flatnonzero(loudness > loudness.max() * _SILENCE)
    heard = power[loud[0] : loud[-1] + 1] if len(loud) else power[:1]
    heard = np.pad(heard, ((0, max(0, BLOCK_FRAMES - len(heard))), (0, 0)))
    n_blocks = max(1, -(-(len(heard) - _MAX_GAP_FRAMES) // BLOCK_FRAMES))
    starts = np.linspace(0, len(heard) - BLOCK_FRAMES, n_blocks).round().astype(int)
    return np.stack([scale(heard[start : start + BLOCK_FRAMES]) for start in starts])


def pack(blocks: NDArray[np.float32], samples: NDArray[np.float32]) -> Blocks:
    """Put blocks [n, 100, 96] and all samples into one structured array [n]."""
    n_each = -(-len(samples) // len(blocks))
    fields = [("mel", np.float32, blocks.shape[1:]), ("samples", np.float32, (n_each,))]
    packed = np.zeros(len(blocks), [*fields, ("n_samples", np.int64)])
    packed["mel"] = blocks
    packed["samples"].reshape(-1)[: len(samples)] = samples
    packed["n_samples"] = np.clip(len(samples) - n_each * np.arange(len(blocks)), 0, n_each)
    return packed


def unpack_samples(item: Blocks) -> NDArray[np.float32]:
    """The samples at 16 kHz, float32 [n]."""
    samples: NDArray[np.float32] = item["samples"].reshape(-1)
    return samples[: int(item["n_samples"].sum())]


def load(folder: Path, _text_tower: Tower, *, n_threads: int | None = None) -> AudioTower:
    """The audio tower of a bundle's folder, which holds the parts ``audio`` and ``speech``.

    Args:
        folder: the bundle's folder.
        text_tower: embeds transcripts.
        n_threads: threads of one run; None for every core.
    """
    from encoder.runtime.onnx import OnnxSession

    session = OnnxSession(folder / "audio" / "model.onnx", n_threads=n_threads)
    return AudioTower(session, load_sound_labels())

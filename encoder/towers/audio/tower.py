"""The audio tower: what is heard becomes a point in the space of sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from encoder.media.sound import resample
from encoder.runtime.base import Session
from encoder.services.sound_classes import SoundClasses
from encoder.services.speech import Speech
from encoder.services.whisper import SAMPLING_RATE as SPEECH_RATE
from encoder.space import l2_normalize
from encoder.towers.audio.labels import (
    ClassPlaces,
    SoundLabels,
    point,
    sound_features,
    ucs_probabilities,
)
from encoder.towers.audio.logmel import HOP, SAMPLING_RATE, mel_power, scale
from encoder.towers.base import Encoded, Prepared, Tower
from encoder.types import Waveform

SoundBlocks: TypeAlias = NDArray[np.void]
"""A prepared sound: a structured array [n_blocks], see `AudioTower.prepare`."""

BLOCK_FRAMES = 100
# Frames this far below the loudest are silence: 60 dB.
_SILENCE = 1e-6
# A block for so many frames: YAMNet hears all, and hearing all of it twice costs a third more time
# for .004 of mAP.
_FRAMES_PER_BLOCK = 200
# The network's activations take 7 MB a block, and more at once are no faster.
_BLOCKS_AT_ONCE = 2


class AudioTower:
    """Sounds to embeddings: what ``classes`` and ``labels`` name.

    ``session`` takes ``blocks`` float32 [n, 100, 96]; see `encoder.networks.convolutions`.
    ``classes`` say what is heard, and ``places`` where that lies: in a row for each of its groups
    of languages.
    ``query`` is the tower for sounds that are searched with: ``speech`` gives their words, which
    ``questions`` embeds.
    """

    def __init__(
        self,
        session: Session,
        classes: SoundClasses,
        places: ClassPlaces,
        speech: Speech,
        labels: SoundLabels,
        questions: Tower,
    ) -> None:
        self._session = session
        self._classes = classes
        self._places = places
        self._labels = labels
        self.n_rows = len(places.places)
        self.query = SpokenQuestions(self, speech, questions)

    def prepare(self, content: Waveform) -> SoundBlocks:
        """Blocks of sound [n_blocks], as a structured array.

        Its fields are
        ``mel`` float32 [100, 96]: about 2.3 s of the scaled log-mel spectrogram;
        ``samples`` float32 [n]: one part of the sound at 16 kHz, and ``n_samples`` how many of
        them there are.

        Silence at both ends is left out.
        """
        power = mel_power(content)
        start, end = loud_frames(power)
        heard = resample(content, SPEECH_RATE)[at_speech_rate(start) : at_speech_rate(end)]
        return pack(cut(power[start:end]), heard)

    def forward(self, batch: Sequence[Prepared]) -> Encoded:
        return Encoded(np.concatenate([self._embed(cast(SoundBlocks, item)) for item in batch]))

    def _embed(self, item: SoundBlocks) -> NDArray[np.float32]:
        """Unit rows [n_rows, embed_dim]."""
        sound = Waveform(unpack_samples(item), SPEECH_RATE)
        rows = self._places.rows(self._classes.hear(sound).mean(axis=0))
        return l2_normalize(rows + self._places.share * self._named(item))

    def _named(self, item: SoundBlocks) -> NDArray[np.float32]:
        """Where the names of the other two lists lie, a unit row [embed_dim]."""
        features, *logits = self._listen(item["mel"])
        ucs = ucs_probabilities(logits, self._labels)
        head = self._labels.head
        by_name = point(head.probabilities(sound_features(features)), head.embeddings)
        return l2_normalize(point(ucs, self._labels.ucs) + np.float32(head.share) * by_name)

    def _listen(self, mel: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        parts = [
            self._session.run({"blocks": mel[i : i + _BLOCKS_AT_ONCE]})
            for i in range(0, len(mel), _BLOCKS_AT_ONCE)
        ]
        return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]


class SpokenQuestions:
    """Sounds that are searched with: where words are heard, only these count, as a question."""

    def __init__(self, sounds: AudioTower, speech: Speech, questions: Tower) -> None:
        self._sounds, self._speech, self._questions = sounds, speech, questions

    def prepare(self, content: Waveform) -> SoundBlocks:
        return self._sounds.prepare(content)

    def forward(self, batch: Sequence[Prepared]) -> Encoded:
        return Encoded(np.concatenate([self._row(cast(SoundBlocks, item)) for item in batch]))

    def _row(self, item: SoundBlocks) -> NDArray[np.float32]:
        """A unit row [1, embed_dim]."""
        transcript = self._speech.transcribe(Waveform(unpack_samples(item), SPEECH_RATE))
        if words := " ".join(sentence.text for sentence in transcript):
            return self._questions.forward([self._questions.prepare(words)]).rows
        return self._sounds.forward([item]).rows[:1]


def loud_frames(power: NDArray[np.float32]) -> tuple[int, int]:
    """The frames [start, end) of mel power [n_frames, 96] without the silence at both ends."""
    loudness = power.sum(axis=1)
    loud = np.flatnonzero(loudness > loudness.max() * _SILENCE)
    return (int(loud[0]), int(loud[-1]) + 1) if len(loud) else (0, len(power))


def at_speech_rate(frame: int) -> int:
    """The sample at 16 kHz on which a frame is centred."""
    return round(frame * HOP / SAMPLING_RATE * SPEECH_RATE)


def cut(power: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cut mel power [n_frames, 96] into scaled blocks, float32 [n_blocks, 100, 96].

    The blocks are evenly spread, and about half of the sound is between them; a short sound is
    padded with silence.
    """
    heard = np.pad(power, ((0, max(0, BLOCK_FRAMES - len(power))), (0, 0)))
    n_blocks = max(1, round(len(heard) / _FRAMES_PER_BLOCK))
    starts = np.linspace(0, len(heard) - BLOCK_FRAMES, n_blocks).round().astype(int)
    return np.stack([scale(heard[start : start + BLOCK_FRAMES]) for start in starts])


def pack(blocks: NDArray[np.float32], samples: NDArray[np.float32]) -> SoundBlocks:
    """Put blocks [n, 100, 96] and all samples into one structured array [n]."""
    n_each = -(-len(samples) // len(blocks))
    fields = [("mel", np.float32, blocks.shape[1:]), ("samples", np.float32, (n_each,))]
    packed = np.zeros(len(blocks), [*fields, ("n_samples", np.int64)])
    packed["mel"] = blocks
    padded = np.pad(samples, (0, n_each * len(blocks) - len(samples)))
    packed["samples"] = padded.reshape(len(blocks), n_each)
    packed["n_samples"] = np.clip(len(samples) - n_each * np.arange(len(blocks)), 0, n_each)
    return packed


def unpack_samples(item: SoundBlocks) -> NDArray[np.float32]:
    """The samples at 16 kHz, float32 [n]."""
    samples: NDArray[np.float32] = item["samples"].reshape(-1)
    return samples[: int(item["n_samples"].sum())]

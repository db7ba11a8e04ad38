"""Speech: what is said, where it is said, and how sound looks to a speech model.

Whisper (Radford et al. 2022) run by CTranslate2 through faster-whisper. It was trained on windows
of 30 s; shorter ones are enough for it if two seconds of silence follow, in a fifth of the time.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encoder.errors import ModelError
from encoder.types import Utterance

if TYPE_CHECKING:
    from faster_whisper import WhisperModel
    from faster_whisper.tokenizer import Tokenizer

SAMPLING_RATE = 16_000
FEATURE_DIM = 3 * 384
"""The length of `Speech.features`."""

_LEAD_S = 0.3
_PAUSE_S = 2.0
_PAUSES = (int(_LEAD_S * SAMPLING_RATE), int(_PAUSE_S * SAMPLING_RATE))
_MARK_S = 0.02
_LONGEST_UTTERANCE_S = 26.0
# Attention is quadratic in time: three windows of 10 s cost half of one of 30 s.
_WINDOW_S = 10.0
_SHORTEST_S = 1.0
# Where Whisper is less sure than this it is guessing. Short windows raise its "no speech".
_MIN_LOG_PROBABILITY = -1.0
_MAX_NO_SPEECH = 0.5
# Speech has about 4 tokens a second; a model caught in a loop has no end.
_TOKENS_PER_S = 8
# CTranslate2 convolves by oneDNN, which compiles code for each length of sound, in a millisecond,
# and keeps 1024 pieces of it: 250 MB after 450 lengths of up to 10 s.
_MAX_KEPT = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")

Samples = NDArray[np.float32]


class Speech:
    """A Whisper model, loaded on first use; deterministic (beam 1, no sampling).

    Args:
        folder: holds ``model.bin``, ``config.json``, ``tokenizer.json`` and ``vocabulary.txt``.
        n_threads: threads of one run; None for every core.
        compute_type: CTranslate2's name for the numbers that it computes with.
    """

    def __init__(
        self, folder: Path, *, n_threads: int | None = None, compute_type: str = "int8"
    ) -> None:
        self._folder = folder
        self._n_threads = n_threads
        self._compute_type = compute_type
        self._lock = Lock()

    def features(self, samples: Samples) -> NDArray[np.float32]:
        """The encoder's mean, largest value and deviation over time.

        Args:
            samples: mono sound at 16 kHz, float32 [n].

        Returns:
            float32 [3 * 384].
        """
        states = np.concatenate([self._encode(window) for window in windows(samples)])
        return np.concatenate([states.mean(axis=0), states.max(axis=0), states.std(axis=0)])

    def transcribe(self, samples: Samples) -> list[Utterance]:
        """What is surely said, sentence by sentence, in English; empty for sound without speech.

        Args:
            samples: mono sound at 16 kHz, float32 [n].
        """
        sentences: list[Utterance] = []
        for start, end in speech_spans(samples):
            result = self._generate(samples[start:end], self._tokenizer.sot_sequence)
            if self._is_sure(result):
                said = self._sentences(result.sequences_ids[0], (end - start) / SAMPLING_RATE)
                sentences += [one.moved(start / SAMPLING_RATE) for one in said]
        return sentences

    def spans(self, samples: Samples) -> list[Utterance]:
        """Each span in which somebody speaks, with all its words, or none if they are unsure.

        What a sound's embedding holds: without Whisper's times, the words are a little surer.

        Args:
            samples: mono sound at 16 kHz, float32 [n].
        """
        return [
            Utterance(start / SAMPLING_RATE, end / SAMPLING_RATE, self._words(samples[start:end]))
            for start, end in speech_spans(samples)
        ]

    def _words(self, samples: Samples) -> str:
        tokenizer = self._tokenizer
        result = self._generate(samples, [*tokenizer.sot_sequence, tokenizer.no_timestamps])
        if not self._is_sure(result):
            return ""
        return str(tokenizer.decode(result.sequences_ids[0])).strip()

    def _generate(self, samples: Samples, prompt: Sequence[int]) -> Any:
        return self._model.model.generate(
            self._mel(np.pad(samples, _PAUSES)),
            [list(prompt)],
            beam_size=1,
            max_length=8 + int(_TOKENS_PER_S * len(samples) / SAMPLING_RATE),
            return_scores=True,
            return_no_speech_prob=True,
        )[0]

    def _is_sure(self, result: Any) -> bool:
        is_sure = result.scores[0] > _MIN_LOG_PROBABILITY and result.no_speech_prob < _MAX_NO_SPEECH
        return bool(is_sure) and is_varied(self._tokenizer.decode(result.sequences_ids[0]))

    def _sentences(self, tokens: Sequence[int], length_s: float) -> list[Utterance]:
        """Cut at Whisper's marks of time, which count from the pause before the speech."""
        first_mark = self._tokenizer.timestamp_begin
        sentences: list[Utterance] = []
        start_s, words = 0.0, list[int]()
        for token in [*tokens, first_mark + round((length_s + _LEAD_S) / _MARK_S)]:
            if token < first_mark:
                words.append(token)
                continue
            time_s = min(max((token - first_mark) * _MARK_S - _LEAD_S, 0.0), length_s)
            text = self._tokenizer.decode(words).strip()
            if text and time_s > start_s:  # else it goes on guessing in the pause behind
                sentences.append(Utterance(round(start_s, 2), round(time_s, 2), text))
            start_s, words = time_s, []
        return sentences

    def _encode(self, samples: Samples) -> NDArray[np.float32]:
        """States of the encoder for at most 30 s of sound, float32 [n_frames, 384]."""
        states = self._model.model.encode(self._mel(samples), to_cpu=True)
        frames: NDArray[np.float32] = np.asarray(states, np.float32)[0]
        return frames

    def _mel(self, samples: Samples) -> Any:
        from ctranslate2 import StorageView

        mel = self._model.feature_extractor(samples, padding=0)
        n_even = mel.shape[1] // 2 * 2  # the encoder halves the rate
        return StorageView.from_array(np.ascontiguousarray(mel[None, :, :n_even], np.float32))

    @property
    def _model(self) -> WhisperModel:
        with self._lock:
            return self._loaded

    @cached_property
    def _loaded(self) -> WhisperModel:
        from faster_whisper import WhisperModel

        if not (self._folder / "model.bin").is_file():
            raise ModelError(
                f"There is no Whisper model in {self._folder}.",
                remedy="Check the model with `anymodal models verify`.",
            )
        os.environ.setdefault(*_MAX_KEPT)  # read when the first run begins
        return WhisperModel(
            str(self._folder),
            device="cpu",
            compute_type=self._compute_type,
            cpu_threads=self._n_threads or 0,
        )

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        from faster_whisper.tokenizer import Tokenizer

        is_multilingual = self._model.model.is_multilingual
        return Tokenizer(
            self._model.hf_tokenizer, is_multilingual, task="transcribe", language="en"
        )


def is_varied(text: str) -> bool:
    """Whether a text has words and mostly new ones: a guessing model repeats itself.

    >>> is_varied("Time and time again"), is_varied("Time... Time... Time..."), is_varied("...")
    (True, False, False)
    """
    words = re.findall(r"\w+", text.lower())
    return len(set(words)) * 2 > len(words)


def windows(samples: Samples) -> Iterator[Samples]:
    """Equal parts of at most 10 s; a sound of less than a second is padded with silence."""
    shortest = int(_SHORTEST_S * SAMPLING_RATE)
    padded = np.pad(samples, (0, max(0, shortest - len(samples))))
    yield from np.array_split(padded, -(-len(padded) // int(_WINDOW_S * SAMPLING_RATE)))


def speech_spans(samples: Samples) -> list[tuple[int, int]]:
    """Where somebody speaks, as first and last sample (Silero's voice activity detector)."""
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    if len(samples) == 0:
        return []
    options = VadOptions(max_speech_duration_s=_LONGEST_UTTERANCE_S)
    return [(span["start"], span["end"]) for span in get_speech_timestamps(samples, options)]

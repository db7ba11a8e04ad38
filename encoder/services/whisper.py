"""Whisper (Radford et al. 2022) run by CTranslate2: states of sounds, languages, and words.

It was trained on windows of 30 s, which are mostly silence. Shorter ones suffice, and take a
fraction of the time, if some seconds of silence follow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoder.errors import ModelError
from encoder.system.allocator import give_back
from encoder.system.environment import set_for_library
from encoder.system.resting import Resting

if TYPE_CHECKING:
    from ctranslate2 import StorageView
    from faster_whisper import WhisperModel
    from faster_whisper.tokenizer import Tokenizer


SAMPLING_RATE = 16_000
LEAD_S = 0.3
"""The silence put before the speech; times of words count from the beginning of this silence."""

# With 2 s of silence after the speech it goes on to invent words (benchmarks/tried.md).
_PAUSE_S = 5.0
_WINDOW_S = 30.0
_MARK_S = 0.02
# It has positions for this many, and as many again for what precedes them.
_MOST_TOKENS = 224
_MARGIN_TOKENS = 4
# English-only models have one entry fewer. (Both have the tokens of all languages.)
_MULTILINGUAL_WORDS = 51_865
# Chinese has two scripts. The text that precedes decides which one is written: here "what follows
# are sentences in Mandarin", in the simplified one.
_BEFORE = {"zh": "以下是普通话的句子。"}
# CTranslate2 convolves with oneDNN, which compiles code for each length of sound, in a millisecond,
# and keeps 1024 pieces of it: 250 MB after 450 lengths of up to 10 s.
_MAX_KEPT = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
_REST_S = 60.0
"""After this long, Whisper base frees 100 MB, which it loads again in .35 CPU-seconds."""

Samples = NDArray[np.float32]


class WrittenSpeech(NamedTuple):
    """What Whisper makes of speech: tokens, timestamps among them, and text.

    ``log_probability`` is that of a token, on average; ``no_speech`` is 0 from multilingual models,
    for which it is not computed. With ``is_cut`` the limit of tokens was reached, so that words may
    be missing.
    """

    tokens: Sequence[int]
    text: str
    language: str
    log_probability: float
    no_speech: float
    is_cut: bool = False


class Speaking(NamedTuple):
    """Encoded speech, with a pause on either side."""

    states: Any
    length_s: float


class Whisper:
    """The Whisper model of a folder, loaded on first use; nothing is drawn at random.

    Its weights leave memory when they have not been used for ``rest_s``. ``compute_type`` is
    CTranslate2's name for the type of number that it computes with.
    """

    def __init__(
        self, folder: Path, *, n_threads: int | None, compute_type: str, rest_s: float = _REST_S
    ) -> None:
        self._folder = folder
        self._n_threads = n_threads
        self._compute_type = compute_type
        self._model = Resting(self._opened, rest_s)
        self._tokenizer = lru_cache(None)(self._new_tokenizer)

    @cached_property
    def is_multilingual(self) -> bool:
        """Whether it knows languages other than English, by the size of its vocabulary."""
        try:
            with (self._folder / "vocabulary.txt").open("rb") as words:
                return sum(1 for _ in words) >= _MULTILINGUAL_WORDS
        except FileNotFoundError as error:
            raise self._missing() from error

    def encode(self, samples: Samples) -> Speaking:
        """Encode speech of at most 29 s."""
        from ctranslate2 import StorageView

        length_s = len(samples) / SAMPLING_RATE
        pause_s = min(_PAUSE_S, _WINDOW_S - LEAD_S - length_s)
        padded = np.pad(samples, [int(pause * SAMPLING_RATE) for pause in (LEAD_S, pause_s)])
        mel = self._model.get().feature_extractor(padded, padding=0)
        n_even = mel.shape[1] // 2 * 2  # the encoder halves the rate
        mel = np.ascontiguousarray(mel[None, :, :n_even], np.float32)
        return Speaking(self._network.encode(StorageView.from_array(mel)), length_s)

    def languages(self, speaking: Speaking) -> Mapping[str, float]:
        """How likely each language is, by its code; for multilingual models only."""
        (likelihoods,) = self._network.detect_language(speaking.states)
        return {name.strip("<|>"): float(likely) for name, likely in likelihoods}

    def write(
        self,
        speaking: Speaking,
        languages: Sequence[str],
        *,
        tokens_per_s: float,
        n_beams: int = 1,
        in_one_script: bool = False,
    ) -> list[WrittenSpeech]:
        """Write down what is said, and when its sentences begin and end, once in each language.

        Without these times it would go on into the pause that follows, and repeat everything.

        Args:
            languages: the languages to write in, at once; English-only models know only "en".
            tokens_per_s: the most that there may be, since a model caught in a loop never ends.
            n_beams: how many beginnings are followed at once.
            in_one_script: write Chinese in the simplified script, rather than in either; it must
                then be the only language.
        """
        tokenizers = [self._tokenizer(language) for language in languages]
        prompts = [list(tokenizer.sot_sequence) for tokenizer in tokenizers]
        if in_one_script and languages[0] in _BEFORE:
            prefix = tokenizers[0].encode(_BEFORE[languages[0]])
            prompts = [[tokenizers[0].sot_prev, *prefix, *prompts[0]]]
        max_tokens = min(_MARGIN_TOKENS + int(tokens_per_s * speaking.length_s), _MOST_TOKENS)
        results = self._network.generate(
            _repeated(speaking.states, len(languages)),
            prompts,
            beam_size=n_beams,
            # CTranslate2 counts the prompt, too, and returns at most half of this.
            max_length=max(2 * max_tokens, max_tokens + len(prompts[0])),
            return_scores=True,
            return_no_speech_prob=not self.is_multilingual,
        )
        written = list[WrittenSpeech]()
        for language, tokenizer, result in zip(languages, tokenizers, results, strict=True):
            tokens = result.sequences_ids[0]
            text, is_cut = tokenizer.decode(tokens).strip(), len(tokens) >= max_tokens
            score, no_speech = result.scores[0], result.no_speech_prob
            written.append(WrittenSpeech(tokens, text, language, score, no_speech, is_cut))
        return written

    def has_two_scripts(self, language: str) -> bool:
        """Whether a language has two scripts, of which `write` can be asked for one."""
        return language in _BEFORE

    def sentences(self, words: WrittenSpeech, length_s: float) -> list[tuple[float, float, str]]:
        """Cut at Whisper's timestamps: begin and end in seconds, and the text.

        Timestamps after ``length_s``, that of the speech, are guesses.
        """
        tokenizer = self._tokenizer(words.language)
        first_mark = tokenizer.timestamp_begin
        sentences: list[tuple[float, float, str]] = []
        start_s, words_of_sentence = 0.0, list[int]()
        for token in [*words.tokens, first_mark + round((length_s + LEAD_S) / _MARK_S)]:
            if token < first_mark:
                words_of_sentence.append(token)
                continue
            # Timestamps count from the pause before the speech.
            time_s = min(max((token - first_mark) * _MARK_S - LEAD_S, 0.0), length_s)
            text = tokenizer.decode(words_of_sentence).strip()
            if text and time_s > start_s:  # else it goes on guessing in the pause after it
                sentences.append((round(start_s, 2), round(time_s, 2), text))
            start_s, words_of_sentence = time_s, []
        return sentences

    @property
    def _network(self) -> Any:
        """CTranslate2's model, with its weights."""
        return self._model.get().model

    def _opened(self) -> WhisperModel:
        from faster_whisper import WhisperModel

        if not (self._folder / "model.bin").is_file():
            raise self._missing()
        set_for_library(*_MAX_KEPT)  # read when the first run begins
        model = WhisperModel(
            str(self._folder),
            device="cpu",
            compute_type=self._compute_type,
            cpu_threads=self._n_threads or 0,
        )
        # In float32 the last bit of the product with the filters depends on the threads of BLAS,
        # and after int8 rounding a word can become another that is just as likely.
        extractor = model.feature_extractor
        extractor.mel_filters = extractor.mel_filters.astype(np.float64)
        give_back()  # 80 MB of the weights as they were in the file
        return model

    def _missing(self) -> ModelError:
        return ModelError(
            f"There is no Whisper model in {self._folder}.",
            remedy="Check the model with `anymodal models verify`.",
        )

    def _new_tokenizer(self, language: str) -> Tokenizer:
        from faster_whisper.tokenizer import Tokenizer

        model = self._model.get()
        return Tokenizer(
            model.hf_tokenizer, self.is_multilingual, task="transcribe", language=language
        )


def _repeated(states: StorageView, n: int) -> StorageView:
    """States [1, n_states, n_dims] as [n, n_states, n_dims]."""
    from ctranslate2 import StorageView

    return StorageView.from_array(np.repeat(np.asarray(states), n, axis=0)) if n > 1 else states

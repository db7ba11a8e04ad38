"""Speech: what is said, when it is said, in which language, and how certain that is.

An English-only model is sure or silent: its words count fully or not at all. A multilingual one
keeps what it is not sure of, with a lower confidence; there speech is separated from music and
noise by two networks, since the voice activity detector is sure of sentences, but only of every
second word that stands alone.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache, partial
from math import exp, log
from pathlib import Path

import numpy as np

from encoder.media.sound import resample
from encoder.runtime.onnx import OnnxSession
from encoder.services.sound_classes import SPEECH, SoundClasses
from encoder.services.whisper import SAMPLING_RATE, Samples, Speaking, Whisper, WrittenSpeech
from encoder.types import Utterance, Waveform

_ENGLISH = "en"
_LONGEST_UTTERANCE_S = 26.0
_PAUSE_S = 2.0
# Where an English-only model is less sure than this it is guessing. Short windows raise its "no
# speech".
_MIN_LOG_PROBABILITY = -1.0
_MAX_NO_SPEECH = 0.5
# The detector is this sure at least once in 98 % of the spans of real speech, in 7 % of those that
# it mistakes for speech in noises, and in half of single words. Of 300 of these, YAMNet is as sure
# of 86 %, and one of the two of 92 %.
_MIN_VOICE = _MIN_SPEECH = 0.9
_DETECTOR_SAMPLES = 512
# A language less likely than this is compared with others by the words that it gives.
_CLEAR = 0.8
_N_LANGUAGES = 3
_LIKELY = 0.05
_N_BEAMS = 5
# The weight of a language's likelihood against the log-probability of a token in it.
_LANGUAGE_WEIGHT = 0.25
# Added to that for English, which is spoken with more accents than any other.
_ENGLISH_BONUS = 0.3
# A language this far behind by its sound is not tried: in 400 recordings its words won once, as
# wrong as the others.
_FAR_BEHIND = 0.5
# Speech has about 4 tokens a second, Chinese and Russian 6, and up to 45 in scripts for which the
# model has no words. Text that is not complete within the first limit gets more, unless that is a
# loop: given room for one, the search prefers a loop to what was said.
_TOKENS_PER_S = 6.0
# An English-only model writes once, and with more room one of 220 recordings became a loop.
_ENGLISH_TOKENS_PER_S = 4.0
_MORE_TOKENS_PER_S = (10.0, 45.0)
# In real sentences, more than three quarters of all sequences of four letters occur only once.
_LETTERS = 4
_LOOP = 0.1
# In 94 recordings in four languages, 8 % of the words were right where tokens had a probability of
# 0.2 to 0.3 on average, 26 % at 0.3 to 0.4, then 67, 77, and 89 % above 0.6.
_NONE_RIGHT, _ALL_RIGHT = 0.2, 0.65
# In 96 recordings in twelve languages no word was right below this. Of 414 noises, laughter and
# crying among them, six got words, all below it.
_LEAST_CONFIDENCE = 0.3


class Speech:
    """Speech, written down by the Whisper model in a folder; deterministic.

    ``classes``, if given, tell short words from noise.
    """

    def __init__(
        self,
        folder: Path,
        *,
        n_threads: int | None = None,
        compute_type: str = "int8",
        classes: SoundClasses | None = None,
    ) -> None:
        self._whisper = Whisper(folder, n_threads=n_threads, compute_type=compute_type)
        self._classes = classes

    def spans(self, sound: Waveform) -> list[tuple[float, float]]:
        """Where somebody speaks, from and to which second; neither music nor noise."""
        spans = self._spans(resample(sound, SAMPLING_RATE))
        return [(start / SAMPLING_RATE, end / SAMPLING_RATE) for start, end in spans]

    def transcribe(self, sound: Waveform) -> list[Utterance]:
        """What is certainly said, sentence by sentence; empty where nobody speaks."""
        samples = resample(sound, SAMPLING_RATE)
        spans = self._spans(samples)
        if not spans:
            return []
        speaking = [self._whisper.encode(samples[slice(*span)]) for span in spans]
        languages = self._languages(speaking)
        sentences: list[Utterance] = []
        for (start, _), speaking_span in zip(spans, speaking, strict=True):
            words = self._written(speaking_span, languages)
            if confidence := self._confidence(words):
                times = self._whisper.sentences(words, speaking_span.length_s)
                sentences += [
                    Utterance(*sentence, confidence, words.language).moved(start / SAMPLING_RATE)
                    for sentence in times
                ]
        return sentences

    def _spans(self, samples: Samples) -> list[tuple[int, int]]:
        spans = speech_spans(samples)
        if self._whisper.is_multilingual:
            return [span for span in spans if self._is_speech(samples[slice(*span)])]
        return spans

    def _is_speech(self, samples: Samples) -> bool:
        if is_voiced(samples):
            return True
        if self._classes is None:
            return False
        heard = self._classes.hear(Waveform(samples, SAMPLING_RATE))
        return bool(heard[:, SPEECH].max() >= _MIN_SPEECH)

    def _written(self, speaking: Speaking, languages: Mapping[str, float]) -> WrittenSpeech:
        """The words, in the language in which they are the most plausible."""
        write = partial(self._whisper.write, speaking)
        if not self._whisper.is_multilingual:
            return write([_ENGLISH], tokens_per_s=_ENGLISH_TOKENS_PER_S)[0]
        is_clear = len(languages) == 1
        write = partial(write, n_beams=_N_BEAMS)
        tried = write(list(languages), tokens_per_s=_TOKENS_PER_S, in_one_script=is_clear)
        best = max(tried, key=lambda words: preference(words, languages[words.language]))
        # What is told to write one script is surer than it should be, so that comes last.
        if not is_clear and self._whisper.has_two_scripts(best.language):
            (best,) = write([best.language], tokens_per_s=_TOKENS_PER_S, in_one_script=True)
        for tokens_per_s in _MORE_TOKENS_PER_S:
            if not best.is_cut or is_loop(best.text):
                break
            (longer,) = write([best.language], tokens_per_s=tokens_per_s, in_one_script=True)
            if is_loop(longer.text):
                break
            best = longer
        return best

    def _languages(self, speaking: Sequence[Speaking]) -> dict[str, float]:
        """Which languages the sound may be in, and how likely each is."""
        if not self._whisper.is_multilingual:
            return {_ENGLISH: 1.0}
        likely: dict[str, float] = defaultdict(float)
        whole_s = sum(span.length_s for span in speaking)
        for span in speaking:
            for language, probability in self._whisper.languages(span).items():
                likely[language] += probability * span.length_s / whole_s
        best = sorted(likely, key=lambda language: -likely[language])
        if likely[best[0]] >= _CLEAR:
            return {language: likely[language] for language in best[:1]}
        tried = [best[0], *(each for each in best[1:_N_LANGUAGES] if likely[each] >= _LIKELY)]
        if likely[_ENGLISH] >= _LIKELY and _ENGLISH not in tried:
            tried.append(_ENGLISH)
        priors = {language: prior(language, likely[language]) for language in tried}
        least = max(priors.values()) - _FAR_BEHIND
        return {language: likely[language] for language in tried if priors[language] >= least}

    def _confidence(self, words: WrittenSpeech) -> float:
        """The confidence in words; 0 for those to be dropped."""
        if not words.text:
            return 0.0
        return confidence_of(words) if self._whisper.is_multilingual else float(is_sure(words))


@cache
def speech_of(folder: Path, classes: Path | None = None) -> Speech:
    """The one `Speech` of a folder in this process, which has its weights in memory once.

    ``classes`` is the network of `SoundClasses`, if it is there.

    A second thread makes the tiny model no faster (135 ms a sentence, and 152 with two), and the
    sound network needs that core at the same time.
    """
    network = partial(OnnxSession, classes, n_threads=1) if classes and classes.exists() else None
    return Speech(folder, n_threads=1, classes=SoundClasses(network) if network else None)


def is_sure(words: WrittenSpeech) -> bool:
    """Whether an English-only model is sure of its words."""
    is_likely = words.log_probability > _MIN_LOG_PROBABILITY and words.no_speech < _MAX_NO_SPEECH
    return is_likely and is_varied(words.text)


def is_varied(text: str) -> bool:
    """Whether a text has words and mostly new ones: a guessing model repeats itself.

    >>> is_varied("Time and time again"), is_varied("Time... Time... Time..."), is_varied("...")
    (True, False, False)
    """
    words = re.findall(r"\w+", text.lower())
    return len(set(words)) * 2 > len(words)


def confidence_of(words: WrittenSpeech) -> float:
    """The approximate share of a multilingual model's words that is right; 0 if none is."""
    share = (exp(likeliness(words)) - _NONE_RIGHT) / (_ALL_RIGHT - _NONE_RIGHT)
    return min(1.0, share) if share >= _LEAST_CONFIDENCE else 0.0


def preference(words: WrittenSpeech, language: float) -> float:
    """The score by which one of several languages is chosen, each so likely by its sound."""
    return likeliness(words) + prior(words.language, language)


def prior(language: str, likely: float) -> float:
    """The part of `preference` that is known before the words, by the sound alone."""
    return _LANGUAGE_WEIGHT * log(likely) + (_ENGLISH_BONUS if language == _ENGLISH else 0.0)


def likeliness(words: WrittenSpeech) -> float:
    """The mean log-probability of a token, lower for a loop."""
    return words.log_probability + (log(_LOOP) if is_loop(words.text) else 0.0)


def is_loop(text: str) -> bool:
    """Whether a text says the same again and again, in any script.

    >>> is_loop("a castle out of sand"), is_loop("ha " * 20), is_loop("んんんんんんんんん")
    (False, True, True)
    """
    fours = [text[i : i + _LETTERS] for i in range(len(text) - _LETTERS + 1)]
    return 2 * len(set(fours)) < len(fours)


def speech_spans(samples: Samples, pause_s: float = _PAUSE_S) -> list[tuple[int, int]]:
    """Where somebody speaks, as first and last sample (Silero's voice activity detector).

    A silence of ``pause_s`` ends a span.
    """
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    if len(samples) == 0:
        return []
    options = VadOptions(
        max_speech_duration_s=_LONGEST_UTTERANCE_S, min_silence_duration_ms=round(1000 * pause_s)
    )
    return [(span["start"], span["end"]) for span in get_speech_timestamps(samples, options)]


def is_voiced(samples: Samples) -> bool:
    """Whether the detector is sure, somewhere in a span, that somebody speaks."""
    from faster_whisper.vad import get_vad_model

    whole = np.pad(samples, (0, -len(samples) % _DETECTOR_SAMPLES))
    return bool(get_vad_model()(whole).max() >= _MIN_VOICE)

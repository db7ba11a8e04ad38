"""A spoken question to its vector: 30 s windows in float32 and int8, and what the bundle runs.

Run by ``make bench-voice``; ``python -m benchmarks.towers.voice N`` takes the first N recordings.
An interrupt (Ctrl-C) ends it early, with the recordings that all variants have heard.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.bundle_quality.report import interval
from benchmarks.bundle_quality.speech import CHECK, COMMON_VOICE, Heard, common_voice, errors
from benchmarks.harness.reporting import Bar, note
from benchmarks.harness.results_pages import table
from benchmarks.harness.timing import Times
from encoder.loading import load_model
from encoder.media.sound import load_sound
from encoder.models.bundle.declaration import read_bundle
from encoder.prepare.bundle.fetch import fetch
from encoder.services.speech import Speech
from encoder.services.whisper import LEAD_S, SAMPLING_RATE, Samples, Speaking, Whisper
from encoder.towers.audio.logmel import resample
from encoder.towers.base import Tower
from encoder.types import DOCUMENT, QUERY, TEXT, Role

FULL, OURS = "float32, windows of 30 s", "int8, what is there"
FULL_INT8 = "int8, windows of 30 s"
_WINDOW_S = 30.0
_FASTER, _POINTS = Bar(at_least=1.70), Bar(at_most=0.5)
_ABOUT = """Protocol, written before the first run: the first {n} English recordings of the
`check` half of Common Voice 6.1 (CC0 1.0; {words} words), at which nobody looked while anything
was chosen. Each is recognised, its language too, and what was said is encoded as a query, by
Whisper base and multilingual-e5-small. "What is there" is the speech and 15 s of silence instead of
Whisper's 30 s: the positions that are left out are what is sparse here. The 15 s were
chosen on the `dev` half (benchmarks/tried.md). Milliseconds of the
processor for a recording of {length:.1f} s on average, one thread, candidates taking turns; the
middle 80 % of the recordings. Errors have intervals of 95 %, drawn by recordings; points are
against the first row. The cosine is that of the transcript's vector to the row above's, so first of
the precision alone, then of the windows alone: the mean (95 %), and the least. All transcripts are
encoded by the int8 tower; with words on one side alone it is 0. "Same" says in how many recordings
the words are the row above's. The aim was 50 recordings; fewer means that time ran out."""


class FullWindows(Whisper):
    """Whisper as it was trained: everything is a window of 30 s."""

    def encode(self, samples: Samples, role: Role = DOCUMENT) -> Speaking:  # noqa: ARG002
        """See `Whisper.encode`."""
        length_s = len(samples) / SAMPLING_RATE
        pauses_s = LEAD_S, _WINDOW_S - LEAD_S - length_s
        padded = np.pad(samples, [int(pause * SAMPLING_RATE) for pause in pauses_s])
        return Speaking(self._model.model.encode(self._mel(padded)), length_s)


class FullSpeech(Speech):
    """Speech in such windows."""

    def __init__(self, folder: Path, compute_type: str) -> None:
        super().__init__(folder, n_threads=1, compute_type=compute_type)
        self._whisper = FullWindows(folder, n_threads=1, compute_type=compute_type)


def measure(n: int) -> str:
    """The section's body."""
    folder = fetch(read_bundle("multilingual")) / "speech"
    speeches = {
        FULL: FullSpeech(folder, "float32"),
        FULL_INT8: FullSpeech(folder, "int8"),
        OURS: Speech(folder, n_threads=1),
    }
    int8 = _queries("int8")
    texts = {FULL: _queries(None), FULL_INT8: int8, OURS: int8}
    recordings = common_voice(COMMON_VOICE.files() / "en", CHECK)[:n]
    sounds = [resample(load_sound(one.path), SAMPLING_RATE) for one in recordings]
    for name, speech in speeches.items():  # load, compile
        _answer(speech, texts[name], sounds[0])
    heard: dict[str, list[Heard]] = {name: [] for name in speeches}
    seconds = list[list[float]]()
    order = np.random.default_rng(0)
    with suppress(KeyboardInterrupt):
        for recording, sound in zip(recordings, sounds, strict=True):
            took, said = _timed(speeches, texts, sound, order)
            seconds.append(took)
            for name, words in said.items():
                heard[name].append(Heard(recording, words, frozenset()))
            note(f"{len(seconds)} of {len(sounds)}: {took}")
    sounds = sounds[: len(seconds)]
    wrong = {name: errors(each) for name, each in heard.items()}
    about = _ABOUT.format(
        n=len(sounds),
        words=len(wrong[FULL][0]),
        length=np.mean([len(sound) for sound in sounds]) / SAMPLING_RATE,
    )
    said = {name: [one.text for one in each] for name, each in heard.items()}
    rows = rows_of(Times(tuple(speeches), np.array(seconds).T), wrong, likeness(said, int8))
    heads = ("network", "ms", "× faster", "errors", "points", "cosine", "same")
    return f"{about}\n\n{table(heads, rows)}"


def _timed(
    speeches: Mapping[str, Speech],
    texts: Mapping[str, Tower],
    sound: Samples,
    order: np.random.Generator,
) -> tuple[list[float], dict[str, str]]:
    """Seconds of each way, in random order, and what each heard."""
    took, said = [0.0] * len(speeches), dict[str, str]()
    for row in order.permutation(len(speeches)):
        name = list(speeches)[row]
        start = time.process_time()
        said[name] = _answer(speeches[name], texts[name], sound)
        took[row] = time.process_time() - start
    return took, said


def _queries(precision: str | None) -> Tower:
    model = load_model("bundle:multilingual", quantization=precision, n_threads=1)
    return model.queries.get(TEXT, model.towers[TEXT])


def _answer(speech: Speech, tower: Tower, sound: Samples) -> str:
    said = " ".join(one.text for one in speech.transcribe(sound, QUERY))
    if said:
        tower.forward([tower.prepare(said)])
    return said


def likeness(said: Mapping[str, Sequence[str]], tower: Tower) -> dict[str, tuple[str, str]]:
    """Each way's cosines of what it heard to what the way before heard, and how often they agree.

    Args:
        said: transcripts of the same recordings by each way.
        tower: encodes them as queries.
    """
    names = list(said)
    found = {names[0]: ("", "")}
    for before, name in pairwise(names):
        both = list(zip(said[before], said[name], strict=True))
        cosines = np.array([_cosine(tower, *pair) for pair in both])
        low, high = interval(cosines, np.arange(len(cosines)))
        cell = f"{cosines.mean():.3f} ({low:.3f}–{high:.3f}); {cosines.min():.3f}"
        found[name] = cell, f"{sum(one == other for one, other in both)} of {len(both)}"
    return found


def _cosine(tower: Tower, one: str, other: str) -> float:
    if one == other:
        return 1.0
    if not (one and other):
        return 0.0
    rows = [tower.forward([tower.prepare(text)]).rows[0] for text in (one, other)]
    return float(rows[0] @ rows[1])


def rows_of(
    times: Times,
    wrong: Mapping[str, tuple[Sequence[float], Sequence[int]]],
    alike: Mapping[str, tuple[str, str]],
) -> list[tuple[object, ...]]:
    """A row for each way; the last one has bars."""
    found = []
    first = np.array(wrong[times.names[0]][0])
    for name in times.names:
        values, groups = (np.array(each) for each in wrong[name])
        cells = f"{times.median_ms(name):.0f}", *_beside(times, name, values - first, groups)
        low, high = interval(values, groups)
        share = f"{values.mean():.3f} ({low:.3f}–{high:.3f})"
        found.append((name, *cells[:2], share, cells[2], *alike[name]))
    return found


def _beside(
    times: Times, name: str, more: NDArray[np.float64], groups: NDArray[np.int64]
) -> tuple[str, str]:
    if name == times.names[0]:
        return "", ""
    ratio, points = times.speedup(name, times.names[0]), 100 * float(more.mean())
    low, high = (100 * end for end in interval(more, groups))
    faster, lost = str(ratio), f"{points:+.1f} ({low:+.1f} to {high:+.1f})"
    if name != times.names[-1]:
        return faster, lost
    return (
        f"{faster}; {_FASTER.beside(ratio.median, '.2f')}",
        f"{lost}; {_POINTS.beside(points, '.1f')}",
    )


if __name__ == "__main__":
    from benchmarks.harness.results_pages import write_section

    body = measure(int(sys.argv[1]) if len(sys.argv) > 1 else 50)
    print(body)
    write_section("Speed of a spoken question", "make bench-voice", body)

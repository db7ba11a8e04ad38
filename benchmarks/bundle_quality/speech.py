"""Speech in several languages to words, and noise to no words."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.bundle_quality.report import Figure, Subject
from benchmarks.bundle_quality.sources import Repository
from encoder.media.sound import load_sound
from encoder.models.bundle.declaration import read_bundle
from encoder.prepare.bundle.fetch import fetch
from encoder.services.speech import Speech

COMMON_VOICE = Repository(
    "https://github.com/omnilingo/rsample-100-cv-corpus-6.1-2020-12-11",
    "6785f863fec9770151abfe50a5e3e3787fd20ba2",
    "CC0 1.0",
)
SPEECHOCEAN = Repository(
    "https://github.com/jimbozhang/speechocean762",
    "613968e3b0b789fc33936fb5eba1973176ba7d11",
    "free for any use, as its authors say",
)
ESC_50 = Repository(
    "https://github.com/caitlinnguyen0/ESC-50",
    "7085beb71d02eb515b8bad56ad2a29e8fa0dcd08",
    "CC BY-NC 3.0",
)
ESC_10 = Repository(
    "https://github.com/karolpiczak/ESC-10",
    "553c8f1743b9dba6b282e1323c3ca8fa76923448",
    "CC BY 3.0",
)

DEV, CHECK = HALVES = ("dev", "check")
_LANGUAGES = ("de", "zh-CN", "en", "fr", "es", "ru")
_N_SPEAKERS = 60
_BY_CHARACTER = ("zh", "ja")
_BARS = {"de": 0.25, "nonnative": 0.32, "silent": 0.10, "noise": 0.02}

ABOUT = """
Protocol, written before the first run.

- Common Voice 6.1 (Ardila et al. 2020), 100 recordings of each language drawn at random by others.
  Rows 0, 2, 4 … of ``validated.tsv`` are ``dev``, the others ``check``.
- speechocean762 (J. Zhang et al. 2021), English read by Chinese children and adults: one recording
  of every second speaker, 60 of the training half for ``dev``, 60 of the test half for ``check``.
- Sounds without speech: ``dev`` is ESC-50 (K. J. Piczak 2015), as far as the repository has it (414
  clips of all 50 classes), ``check`` is ESC-10 (400 clips).
- ``dev`` was looked at while thresholds and prompts were chosen, ``check`` was not.
- Errors are counted in words (in characters for Chinese), after NFKC, in lower case and without
  punctuation; numbers are not spelled out. What has no transcript counts as left out, whole.
"""


class Recording(NamedTuple):
    """A file, what is said in it (nothing if it is noise), and in which language."""

    path: Path
    text: str = ""
    language: str = ""


def common_voice(folder: Path, half: str) -> list[Recording]:
    """Half of one language's recordings: a folder with ``validated.tsv`` and ``clips``."""
    with (folder / "validated.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [
        Recording(folder / "clips" / row["path"], row["sentence"], folder.name[:2])
        for row in rows[HALVES.index(half) :: 2]
    ]


def speechocean(folder: Path, half: str) -> list[Recording]:
    """One recording of every second speaker."""
    part = folder / ("train" if half == DEV else "test")
    texts, speakers, files = (
        dict(line.split(maxsplit=1) for line in (part / name).read_text("utf-8").splitlines())
        for name in ("text", "utt2spk", "wav.scp")
    )
    first: dict[str, str] = {}
    for name in sorted(texts):
        first.setdefault(speakers[name], name)
    names = [first[speaker] for speaker in sorted(first)][::2][:_N_SPEAKERS]
    return [Recording(folder / files[name], texts[name], "en") for name in names]


def noises(folder: Path) -> list[Recording]:
    """All sounds below a folder."""
    kinds = (".wav", ".ogg", ".flac", ".mp3")
    return [Recording(path) for path in sorted(folder.rglob("*")) if path.suffix in kinds]


def units(text: str, language: str) -> list[str]:
    """What errors are counted in.

    >>> units("It’s 5 o'clock.", "en"), units("你好!", "zh")
    (['its', '5', 'oclock'], ['你', '好'])
    """
    bare = re.sub(r"['’]", "", unicodedata.normalize("NFKC", text).lower())
    words = re.sub(r"[^\w]+", " ", bare).split()
    return list("".join(words)) if language in _BY_CHARACTER else words


def edits(wanted: Sequence[str], got: Sequence[str]) -> int:
    """The fewest insertions, deletions and replacements between two lists.

    >>> edits("the cat sat".split(), "the a cat".split())
    2
    """
    row = list(range(len(got) + 1))
    for i, one in enumerate(wanted, 1):
        above, row[0] = row[0], i
        for j, other in enumerate(got, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (one != other))
    return row[-1]


class Heard(NamedTuple):
    """A recording's transcript, and the languages in which it was transcribed."""

    recording: Recording
    text: str
    languages: frozenset[str]


def hear(speech: Speech, recordings: Sequence[Recording]) -> list[Heard]:
    """Transcribe each recording."""
    heard = []
    for recording in recordings:
        said = [span for span in speech.spans(load_sound(recording.path)) if span.text]
        languages = frozenset(span.language for span in said)
        heard.append(Heard(recording, " ".join(span.text for span in said), languages))
    return heard


def errors(heard: Sequence[Heard]) -> tuple[list[float], list[int]]:
    """For each expected word, its recording's share of errors and its recording's number."""
    values, groups = list[float](), list[int]()
    for number, one in enumerate(heard):
        wanted = units(one.recording.text, one.recording.language)
        wrong = edits(wanted, units(one.text, one.recording.language))
        values += [wrong / len(wanted)] * len(wanted)
        groups += [number] * len(wanted)
    return values, groups


def figures_of_speech(
    name: str, heard: Sequence[Heard], seen: str, bar: float | None
) -> Iterator[Figure]:
    """Errors, recordings without a transcript, and those in the right language."""
    values, groups = errors(heard)
    yield Figure(name, "error rate", np.array(values), np.array(groups), bar, seen)
    each = np.arange(len(heard))
    silent = np.array([float(not one.text) for one in heard])
    yield Figure(name, "no transcript", silent, each, bar and _BARS["silent"], seen)
    right = np.array([float(one.languages == {one.recording.language}) for one in heard])
    yield Figure(name, "right language", right, each, None, seen)


def measure(
    halves: Sequence[str] = HALVES, languages: Sequence[str] = _LANGUAGES
) -> Iterator[Figure]:
    """All sets, both halves, or fewer where time is short."""
    speech = Speech(fetch(read_bundle("multilingual")) / "speech", n_threads=1)
    for half in halves:
        sounds = {DEV: ESC_50, CHECK: ESC_10}[half]
        seen = "yes" if half == DEV else ""
        for language in languages:
            recordings = common_voice(COMMON_VOICE.files() / language, half)
            name = f"Common Voice {language}"
            bar = _BARS.get(language)
            yield from figures_of_speech(name, hear(speech, recordings), seen, bar)
        heard = hear(speech, speechocean(SPEECHOCEAN.files(), half))
        yield from figures_of_speech("speechocean762", heard, seen, _BARS["nonnative"])
        false = np.array([float(bool(one.text)) for one in hear(speech, noises(sounds.files()))])
        each = np.arange(len(false))
        yield Figure("sounds without speech", "with words", false, each, _BARS["noise"], seen)


SUBJECT = Subject("speech", ABOUT, lambda: list(measure()))

"""Speech in several languages to words, and noise to no words."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.bundle_quality.report import Figure, write
from benchmarks.harness.reporting import Settings
from benchmarks.harness.sources import COMMON_VOICE, ESC_10, ESC_50, Repository
from encoder.media.sound import load_sound
from encoder.models.bundle.declaration import read_bundle
from encoder.models.bundle.kinds import FLOAT
from encoder.prepare.bundle.fetch import fetch
from encoder.services.speech import Speech, speech_of

SPEECHOCEAN = Repository(
    "https://github.com/jimbozhang/speechocean762",
    "613968e3b0b789fc33936fb5eba1973176ba7d11",
    "free for any use, as its authors say",
)
DIGITS = Repository(
    "https://github.com/Jakobovski/free-spoken-digit-dataset",
    "26eb9aaf76e81b692f806f9140c2d2777410d7a1",
    "CC BY-SA 4.0",
)

DEV, CHECK = HALVES = ("dev", "check")
_LANGUAGES = ("de", "zh-CN", "en", "fr", "es", "ru")
_N_SPEAKERS = 60
_BY_CHARACTER = ("zh", "ja")
_BARS = {"de": 0.25, "nonnative": 0.32, "silent": 0.10, "noise": 0.01, "words": 0.90}

ABOUT = """
Protocol, written before the first run.

- Common Voice 6.1 (Ardila et al. 2020), 100 recordings of each language drawn at random by others.
  Rows 0, 2, 4 … of ``validated.tsv`` are ``dev``, the others ``check``.
- speechocean762 (J. Zhang et al. 2021), English read by Chinese children and adults: one recording
  of every second speaker, 60 of the training half for ``dev``, 60 of the test half for ``check``.
- Sounds without speech: ``dev`` is ESC-50 (K. J. Piczak 2015), as far as the repository has it (414
  clips of all 50 classes), ``check`` is ESC-10 (400 clips).
- Single words: the Free Spoken Digit Dataset, six speakers; of each digit five recordings for
  ``dev`` (0 to 4) and five for ``check`` (5 to 9). Told is whether there are words, not which.
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


def digits(folder: Path, half: str) -> list[Recording]:
    """Single words."""
    numbers = "[0-4]" if half == DEV else "[5-9]"
    paths = sorted((folder / "recordings").glob(f"?_*_{numbers}.wav"))
    return [Recording(path, path.name[0], "en") for path in paths]


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
    places = np.arange(len(got) + 1)
    others = np.array(list(got), object)
    row = places
    for at, one in enumerate(wanted, start=1):
        kept_or_replaced = row[:-1] + (others != one)
        new = np.append(at, np.minimum(row[1:] + 1, kept_or_replaced))
        row = np.minimum.accumulate(new - places) + places  # insertions
    return int(row[-1])


class Heard(NamedTuple):
    """A recording's transcript, its languages, and the share of the time that has words."""

    recording: Recording
    text: str
    languages: frozenset[str]
    share: float


def hear(speech: Speech, recordings: Sequence[Recording]) -> list[Heard]:
    """Transcribe each recording."""
    heard = []
    for recording in recordings:
        sound = load_sound(recording.path)
        said = speech.transcribe(sound)
        languages = frozenset(span.language for span in said)
        share = sum(span.end_s - span.start_s for span in said) / sound.duration_s
        heard.append(Heard(recording, " ".join(span.text for span in said), languages, share))
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


def measure() -> Iterator[Figure]:
    """All sets, both halves."""
    folder = fetch(read_bundle("multilingual"))
    speech = speech_of(folder / "speech", folder / "sounds" / FLOAT)
    for half in HALVES:
        sounds = {DEV: ESC_50, CHECK: ESC_10}[half]
        seen = "yes" if half == DEV else ""
        for language in _LANGUAGES:
            recordings = common_voice(COMMON_VOICE.files() / language, half)
            heard, bar = hear(speech, recordings), _BARS.get(language)
            yield from figures_of_speech(f"Common Voice {language}", heard, seen, bar)
        heard = hear(speech, speechocean(SPEECHOCEAN.files(), half))
        yield from figures_of_speech("speechocean762", heard, seen, _BARS["nonnative"])
        words = [bool(one.text) for one in hear(speech, digits(DIGITS.files(), half))]
        shares = [one.share for one in hear(speech, noises(sounds.files()))]
        for name, metric, of_each, limit in (
            ("single words", "transcribed", words, _BARS["words"]),
            ("sounds without speech", "time with words", shares, _BARS["noise"]),
        ):
            values = np.array(of_each, np.float64)
            yield Figure(name, metric, values, np.arange(len(values)), limit, seen)


def main(settings: Settings) -> None:
    """Measure, and report."""
    write(settings, "speech", ABOUT, measure())

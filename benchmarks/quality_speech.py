"""How well speech is written down, in which language, and how often noise becomes words.

    python -m benchmarks.quality_speech --speech-part FOLDER --common-voice FOLDER \\
        --speechocean FOLDER --noises FOLDER... [--half dev]

**Protocol, written before the first run.**

- Common Voice 6.1 (CC0), 100 recordings drawn at random for each language, as the repository
  omnilingo/rsample-100-cv-corpus-6.1-2020-12-11 has them: German, Chinese, English, French, Spanish
  and Russian. Rows 0, 2, 4 … of ``validated.tsv`` are ``dev``, the others ``check``.
- speechocean762 (J. Zhang et al. 2021), English read by Chinese children and adults, one recording
  of every second speaker: 60 of its training half are ``dev``, 60 of its test half ``check``.
- Sounds without speech: ``dev`` is 414 clips of ESC-50 of all 50 classes (K. J. Piczak 2015, as
  the repository caitlinnguyen0/ESC-50 has them), ``check`` is ESC-10 (400 clips).
- ``dev`` was looked at while thresholds and prompts were chosen, ``check`` run once, after that.
- Errors are counted in words (in characters for Chinese), after NFKC, in lower case and without
  punctuation; numbers are not spelled out. What has no transcript counts as left out, whole.
- False words: the share of sounds without speech that get any word.
"""

from __future__ import annotations

import argparse
import csv
import re
import time
import unicodedata
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.results import table, write_section
from encoder.media.sound import load_sound
from encoder.towers.logmel import resample
from encoder.towers.speech import Speech
from encoder.towers.whisper import SAMPLING_RATE

LANGUAGES = ("de", "zh-CN", "en", "fr", "es", "ru")
HALVES = ("dev", "check")
_N_SPEAKERS = 60
_BY_CHARACTER = ("zh", "ja")


class Recording(NamedTuple):
    """A file, what is said in it (nothing in a noise), and in which language."""

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
    part = folder / ("train" if half == "dev" else "test")
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
    """A recording's transcript, its language, how sure it is, and the CPU-seconds it took."""

    recording: Recording
    text: str
    languages: frozenset[str]
    confidence: float
    cpu_s: float


def hear(speech: Speech, recordings: Iterable[Recording]) -> list[Heard]:
    """Write down what is said in each."""
    heard = []
    for recording in recordings:
        samples = resample(load_sound(recording.path), SAMPLING_RATE)
        start_s = time.process_time()
        said = [span for span in speech.spans(samples) if span.text]
        cpu_s = time.process_time() - start_s
        text = " ".join(span.text for span in said)
        confidence = min((span.confidence for span in said), default=0.0)
        languages = frozenset(span.language for span in said)
        heard.append(Heard(recording, text, languages, confidence, cpu_s))
    return heard


def row_of_speech(name: str, heard: Sequence[Heard]) -> list[str]:
    """Errors with their 90 % interval over recordings, and what else is asked for."""
    counts = np.array(
        [
            (edits(wanted, units(one.text, one.recording.language)), len(wanted))
            for one in heard
            for wanted in [units(one.recording.text, one.recording.language)]
        ]
    )
    drawn = np.random.default_rng(0).integers(0, len(counts), (1000, len(counts)))
    sums = counts[drawn].sum(axis=1)
    low, high = np.quantile(sums[:, 0] / sums[:, 1], (0.05, 0.95))
    rate = counts[:, 0].sum() / counts[:, 1].sum()
    silent = np.mean([not one.text for one in heard])
    right = np.mean([one.languages == {one.recording.language} for one in heard if one.text])
    cpu_s = np.mean([one.cpu_s for one in heard])
    return [
        name,
        str(len(heard)),
        f"{rate:.3f} ({low:.3f}–{high:.3f})",
        f"{silent:.2f}",
        f"{right:.2f}",
        f"{1e3 * cpu_s:.0f}",
    ]


def row_of_noise(name: str, heard: Sequence[Heard]) -> list[str]:
    """The share with words, and what it took."""
    false = np.mean([bool(one.text) for one in heard])
    cpu_s = np.mean([one.cpu_s for one in heard])
    return [name, str(len(heard)), f"{false:.3f}", f"{1e3 * cpu_s:.0f}"]


def measure(speech: Speech, arguments: argparse.Namespace) -> str:
    """Both tables, as Markdown."""
    half = arguments.half
    sets = {
        f"Common Voice {language}": partial(common_voice, arguments.common_voice / language, half)
        for language in LANGUAGES
    }
    sets["speechocean762"] = partial(speechocean, arguments.speechocean, half)
    said = [row_of_speech(name, hear(speech, of())) for name, of in sets.items()]
    made = [row_of_noise(each.name, hear(speech, noises(each))) for each in arguments.noises]
    headings = ["speech", "n", "error rate", "no transcript", "language right", "CPU ms"]
    return (
        f"{table(headings, said)}\n\n"
        f"{table(['sounds without speech', 'n', 'with words', 'CPU ms'], made)}\n\n"
        f"Half: {half}."
    )


def main() -> None:
    """Measure and write the section of ``RESULTS.md``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--speech-part", type=Path, required=True, help="a Whisper model's folder")
    parser.add_argument("--common-voice", type=Path, required=True, help="one folder a language")
    parser.add_argument("--speechocean", type=Path, required=True)
    parser.add_argument("--noises", type=Path, nargs="*", default=[], help="folders of sounds")
    parser.add_argument("--half", choices=HALVES, default="check")
    arguments = parser.parse_args()
    body = measure(Speech(arguments.speech_part, n_threads=1), arguments)
    print(body)
    write_section("Speech", "python -m benchmarks.quality_speech", body)


if __name__ == "__main__":
    main()

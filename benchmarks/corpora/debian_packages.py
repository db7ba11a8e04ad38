"""Pairs of a title and its body: the one-line and the long description of Debian packages.

Fetched with apt into a separate folder, never committed: each author's words stay with
Debian. apt checks the signatures, and the system's own lists are not touched. Packages that are
built from one source share their words, so one of them stands for all, and the split goes by
source. Another Debian release gives other pairs, but never moves a source to another split.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

Split = Literal["calibration", "validation", "test"]

_MIN_BODY_CHARACTERS = 200
_BEGINNING_CHARACTERS = 80
_MIN_WORDS = 3
_PERCENT_UP_TO: Mapping[Split, int] = {"calibration": 10, "validation": 20, "test": 100}
_APT_HELPER = "/usr/lib/apt/apt-helper"
_APT_SETTINGS = """#clear Acquire::Languages;
#clear APT::Update::Post-Invoke;
Acquire::Languages {{ {languages} }};
Dir::State::Lists "{folder}/lists";
Dir::Cache "{folder}/cache";
"""


@dataclass(frozen=True)
class Pair:
    """What a reader would ask, and the text that answers."""

    title: str
    body: str


@dataclass(frozen=True)
class Described:
    """A package's descriptions and the source package that it is built from."""

    package: str
    source: str
    pair: Pair


def pairs(folder: Path, split: Split) -> list[Pair]:
    """The pairs of a split, in an order that is as good as random: any first n are a sample.

    Fetched if ``folder`` has none.
    """
    kept = folder / "pairs.jsonl"
    if not kept.exists():
        described = [asdict(one) for one in choose(fetch(folder))]
        kept.write_text("".join(json.dumps(one) + "\n" for one in described), "utf-8")
    with kept.open(encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    lines = [line for line in lines if split_of(line["source"]) == split]
    return [Pair(**line["pair"]) for line in sorted(lines, key=lambda line: _hash(line["source"]))]


def split_of(source: str) -> Split:
    """The split of a source package, by a hash of its name.

    >>> split_of("ffmpeg")
    'test'
    """
    percent = _hash(source) % 100
    return next(split for split in get_args(Split) if percent < _PERCENT_UP_TO[split])


def _hash(source: str) -> int:
    return int(hashlib.sha256(source.encode()).hexdigest(), 16)


def choose(described: Iterable[Described]) -> list[Described]:
    """One package for each source, the one with the longest body; unclear pairs left out.

    Left out: bodies that are short or contain their title (a match of strings would do), titles
    of one or two words, and titles or beginnings of bodies that another source has too (no
    answer would be the right one).
    """
    best: dict[str, Described] = {}
    for one in sorted(described, key=lambda d: (d.source, -len(d.pair.body), d.package)):
        best.setdefault(one.source, one)
    taken = set[str]()
    chosen = []
    for one in best.values():
        title, body = one.pair.title.lower(), one.pair.body.lower()
        keys = {title, body[:_BEGINNING_CHARACTERS]}
        if is_clear(one.pair) and not keys & taken:
            chosen.append(one)
            taken |= keys
    return chosen


def is_clear(pair: Pair) -> bool:
    """Whether title and body say enough, and not in the same words."""
    said_enough = len(pair.body) >= _MIN_BODY_CHARACTERS and len(pair.title.split()) >= _MIN_WORDS
    return said_enough and pair.title.lower() not in pair.body.lower()


def read_sources(index: str) -> dict[str, str]:
    """The source of each binary package in a ``Packages`` index."""
    return {
        fields["Package"]: fields.get("Source", fields["Package"]).split()[0]
        for fields in _records(index)
    }


def read_descriptions(
    index: str, sources: Mapping[str, str], language: str = "en"
) -> Iterator[Described]:
    """The packages of a ``Translation`` index whose source is known, described in a language."""
    for fields in _records(index):
        package = fields["Package"]
        title, _, body = fields.get(f"Description-{language}", "").partition("\n")
        if package in sources:
            yield Described(package, sources[package], Pair(title.strip(), tidy(body)))


def tidy(body: str) -> str:
    """A long description without Debian's marks: a paragraph is a line, lists flow.

    >>> tidy(" One line\\n and more.\\n .\\n  * a point")
    'One line and more.\\na point'
    """
    paragraphs = re.split(r"^ \.\s*$", body, flags=re.MULTILINE)
    flat = [" ".join(re.sub(r"^\s+[-*+o•]\s", " ", p, flags=re.M).split()) for p in paragraphs]
    return "\n".join(line for line in flat if line)


def _records(index: str) -> Iterator[dict[str, str]]:
    for record in re.split(r"\n\n+", index.strip()):
        # a line that begins with a blank continues the field before it
        fields = re.findall(r"^([!-9;-~]+):[ \t]*(.*(?:\n[ \t].*)*)", record, re.MULTILINE)
        if fields:
            yield dict(fields)


def fetch(folder: Path) -> list[Described]:
    """Let apt fetch its indexes into ``folder`` and read all descriptions."""
    return fetch_translated(folder, ["en"])["en"]


def fetch_translated(folder: Path, languages: Sequence[str]) -> dict[str, list[Described]]:
    """Let apt fetch its indexes into ``folder`` and read what they describe in each language.

    Args:
        folder: for apt's lists, and its settings, see `apt_settings`.
        languages: such as ``pt_BR``, by Debian's names.
    """
    settings = apt_settings(folder)
    for name in ("lists/partial", "cache"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    quoted = " ".join(f'"{language}";' for language in languages)
    about = _APT_SETTINGS.format(folder=folder.resolve(), languages=quoted)
    settings.write_text(about, "utf-8")
    _run("apt-get", "-c", str(settings), "-qq", "update")
    kinds = "$(CREATED_BY) $(LANGUAGE) $(FILENAME)"
    listing = _run("apt-get", "-c", str(settings), "indextargets", "--format", kinds)
    files = [line.split(" ", 2) for line in listing.splitlines()]
    packages = "\n\n".join(_cat(file) for kind, _, file in files if kind == "Packages")
    sources = read_sources(packages)
    found: dict[str, list[Described]] = {language: [] for language in languages}
    for kind, language, file in files:
        if kind == "Translations" and language in found:
            found[language] += read_descriptions(_cat(file), sources, language)
    return found


def apt_settings(folder: Path) -> Path:
    """The file of apt's settings by which `fetch` works in ``folder``."""
    return folder / "apt.conf"


def _cat(path: str) -> str:
    return _run(_APT_HELPER, "cat-file", path)


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout

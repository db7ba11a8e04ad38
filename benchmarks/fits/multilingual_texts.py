"""Paragraphs in many languages, from sentences of Universal Dependencies; fetched, never committed.

Only files of a few megabytes are taken (``treebanks.tsv``; CC BY-SA). Chinese, Japanese and Korean
say as much in fewer characters, so there all lengths are 0.4 times as long.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.harness.sources import Repository
from encoder.dsre.fitting.documents import Document

TREEBANKS = Path(__file__).with_name("treebanks.tsv")
_HOST = "https://github.com/UniversalDependencies/UD_"
_COMPACT = ("Chinese", "Japanese", "Korean")
_LARGEST_FILE = 3_400_000
_UNSPACED = ("Chinese", "Japanese", "Thai")
_SHORTEST, _LONGEST = 500, 2200
_LEAST_SENTENCES = 450
_TITLE = range(9, 250)


def scale(language: str) -> float:
    """How long texts of a language are, compared with those in an alphabet."""
    return 0.4 if language.startswith(_COMPACT) else 1.0


def of_treebanks(listed: Path, rng: np.random.Generator) -> dict[str, list[Document]]:
    """The texts of the treebanks that a file lists, by language."""
    found: dict[str, list[Document]] = {}
    for line in listed.read_text("utf-8").splitlines():
        if line.startswith("#"):
            continue
        name, commit, licence = line.split("\t")
        files = small_files(Repository(_HOST + name, commit, licence).files())
        language = name.partition("-")[0]
        sentences = [one for path in files for one in sentences_of(path.read_text("utf-8"))]
        found.setdefault(language, []).extend(joined(sentences, language, rng))
    return found


def small_files(folder: Path) -> list[Path]:
    """A treebank's files, by name, without large ones."""
    files = sorted(folder.glob("*.conllu"))
    return [path for path in files if path.stat().st_size <= _LARGEST_FILE]


def sentences_of(conllu: str) -> list[str]:
    """The sentences of a treebank's file, in order.

    >>> sentences_of("# text = Tide. \\n1\\tTide\\n")
    ['Tide.']
    """
    return [one.strip() for one in re.findall(r"^# text = (.*)$", conllu, re.MULTILINE)]


def joined(sentences: Sequence[str], language: str, rng: np.random.Generator) -> Iterator[Document]:
    """Neighbouring sentences joined to texts of random lengths, each with the one before as title.

    Left out: texts that are too short, and those whose title is.
    """
    space, size = "" if language in _UNSPACED else " ", scale(language)
    rest = iter(sentences)
    for title in rest:
        wanted, body, length = rng.uniform(_SHORTEST, _LONGEST) * size, list[str](), 0
        while length < wanted and (sentence := next(rest, None)) is not None:
            body.append(sentence)
            length += len(sentence)
        if length > _LEAST_SENTENCES * size and len(title) in _TITLE:
            yield Document(title, space.join(body))

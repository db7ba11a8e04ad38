"""Texts in many languages, to distill a gate with, fetched and never committed.

Three kinds: sentences of Universal Dependencies (``treebanks.tsv``; CC BY-SA; only files of a
few megabytes, so mostly not the large ones for training), the help of LibreOffice in 31 languages
(packages of Debian, MPL 2.0), and descriptions of Debian's packages as its translators wrote them.
Chinese, Japanese and Korean say as much in fewer characters, so there all lengths are 0.4 times as
long. The treebanks stay as they are; Debian's part changes with its release.
"""

from __future__ import annotations

import html
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from benchmarks.bundle_quality.sources import Repository
from benchmarks.corpora.debian_packages import Pair, apt_settings, fetch_translated
from encoder.dsre.fitting.documents import Document

DESCRIBED = (
    "ar bg bn ca cs da de el en es eu fa fi fr he hi hr hu id it ja km ko lt nb nl pl pt pt_BR ro "
    "ru sk sl sr sv ta th tr uk vi zh_CN zh_TW"
).split()
"""Languages in which descriptions are asked for, by Debian's names; it has no text in some."""
HELP = (
    "ca cs da de el en-us es et eu fi fr gl hi hu id it ja km ko nl pl pt-br ru sk sl sv tr vi "
    "zh-cn zh-tw"
).split()
"""Languages with a package of help; that of Catalan also has the Valencian one."""
N_SENTENCES, N_PAGES, N_DESCRIPTIONS = 220, 130, 130
"""The most texts of a language."""

TREEBANKS = Path(__file__).with_name("treebanks.tsv")
_HOST = "https://github.com/UniversalDependencies/UD_"
_COMPACT = ("Chinese", "Japanese", "Korean", "zh", "ja", "ko")
_LARGEST_FILE = 3_400_000
"""Bytes of a treebank's file; those that are larger were not among the first gate's texts."""
_UNSPACED = ("Chinese", "Japanese", "Thai")
_SHORTEST, _LONGEST = 500, 2200
_LEAST_SENTENCES, _LEAST_PAGE, _LEAST_DESCRIPTION = 450, 600, 450
_MOST_PAGE, _MOST_DESCRIPTION = 2400, 2000
_TITLE = range(9, 250)
_LIKE = 200
_BLOCK = re.compile(r"</(?:p|h[1-6]|li|t[dh])>")
_TAG = re.compile(r"<[^>]*>")
_END = re.compile(r"(?<=[.!?\u061f\u0964])\s+|(?<=[\u3002\uff01\uff1f])|\n")
_CJK = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]")


@dataclass(frozen=True)
class Texts:
    """All texts, by kind, in an order that is as good as random."""

    treebanks: list[Document]
    pages: list[Document]
    descriptions: list[Document]


def gather(folder: Path) -> Texts:
    """Fetch all texts, Debian's into ``folder``; this needs apt and git."""
    rng = np.random.default_rng(0)
    described = fetch_translated(folder, DESCRIBED)
    descriptions = {
        language: distinct(filter(None, (read_pair(one.pair, language) for one in found)))
        for language, found in described.items()
    }
    return Texts(
        _sample(of_treebanks(TREEBANKS, rng), N_SENTENCES, rng),
        _sample(_pages(_unpacked(folder), rng), N_PAGES, rng),
        _sample(descriptions, N_DESCRIPTIONS, rng),
    )


def _sample(
    by_language: Mapping[str, Sequence[Document]], most: int, rng: np.random.Generator
) -> list[Document]:
    """As many texts of each language, at most, in one random order."""
    found = [texts[i] for texts in by_language.values() for i in rng.permutation(len(texts))[:most]]
    return [found[i] for i in rng.permutation(len(found))]


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


def _unpacked(folder: Path) -> Path:
    """The folder of the help, with one folder for each language."""
    unpacked = folder / "help"
    if not unpacked.exists():
        scratch = folder / "help.partial"
        scratch.mkdir(parents=True, exist_ok=True)
        names = [f"libreoffice-help-{language}" for language in HELP]
        settings = apt_settings(folder).resolve()
        download = ["apt-get", "-c", str(settings), "-qq", "download", *names]
        subprocess.run(download, check=True, cwd=scratch)
        for package in sorted(scratch.glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", str(package), str(scratch)], check=True)
        scratch.rename(unpacked)
    return unpacked / "usr" / "share" / "libreoffice" / "help"


def _pages(root: Path, rng: np.random.Generator) -> dict[str, list[Document]]:
    found = {}
    for folder in sorted(path for path in root.iterdir() if path.name != "media"):
        paths = sorted(folder.rglob("*.html"))
        order = (paths[i].read_text("utf-8", "replace") for i in rng.permutation(len(paths)))
        pages = filter(None, (read_page(text, folder.name) for text in order))
        found[folder.name] = list(islice(pages, N_PAGES))
    return found


def read_page(page: str, language: str) -> Document | None:
    """A page of the help: its heading, and a line for each paragraph; None if it is too short."""
    _, heading, main = page.partition('<h1 id="hd')
    main = " ".join((heading + main).partition('<div id="DonationFrame"')[0].split())
    title, *lines = (html.unescape(_TAG.sub("", one)).strip() for one in _BLOCK.split(main))
    body, size = "\n".join(line for line in lines if line), scale(language)
    if not title or len(body) < _LEAST_PAGE * size:
        return None
    return Document(title, body[: int(_MOST_PAGE * size)])


def read_pair(pair: Pair, language: str) -> Document | None:
    """A package's descriptions in a language; None if the long one is too short."""
    size = scale(language)
    if not pair.title or len(pair.body) <= _LEAST_DESCRIPTION * size:
        return None
    return Document(pair.title, pair.body[: int(_MOST_DESCRIPTION * size)])


def distinct(documents: Iterable[Document]) -> list[Document]:
    """One of those that begin alike: packages of one source share their words."""
    return list({one.body[:_LIKE]: one for one in documents}.values())


def askable(text: str) -> list[str]:
    """The sentences of a text that could be asked for it: neither short nor long.

    >>> askable("No. The keeper sounds the horn when fog comes in. Yes.")
    ['The keeper sounds the horn when fog comes in.']
    """
    least, most = (12, 110) if _CJK.search(text) else (35, 240)
    sentences = (one.strip() for one in _END.split(text))
    return [one for one in sentences if least <= len(one) <= most]

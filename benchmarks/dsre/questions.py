"""Whether questions still find their paragraphs where the default model merges tokens."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks.bundle_quality.questions import Questions, articles, embed
from benchmarks.harness.reporting import Bar, Settings, note, report
from benchmarks.harness.results_pages import table
from benchmarks.harness.sources import Repository
from encoder.dsre.fitting.judge import Loss, compare, search
from encoder.loading import load_model
from encoder.models.bundle.declaration import read_bundle
from encoder.prepare.bundle.fetch import fetch
from encoder.types import Embeddings

_LOSS = Bar(at_most=0.3)
_MAX_TOKENS = 512
_NEWS_CHARS = 900
_MOST = 200
_INTRO = """Protocol, written before the first run: {sets}. A question asks for its paragraph among
the first {most} of its set, by the cosine alone, and runs dense; a headline asks for the beginning
of its news. Equal paragraphs count once, and so do equal questions. Paragraphs are whole, to 512
tokens, in int8, with the gate against without. The loss is that of nDCG@10, relative, ± its
standard error over questions. Half merged is a store in which every second paragraph was encoded
with the gate, the mean of both ways to halve it. Layers and thresholds were chosen on {choosing},
the others were asked once, with the gate that is shipped."""

Pair = tuple[str, str]


@dataclass(frozen=True)
class QuestionSet:
    """Questions in one language, from a repository."""

    name: str
    pairs: Callable[[], Iterable[Pair]]
    chooses: bool = False

    def read(self) -> Questions:
        texts: dict[str, int] = {}
        answers: dict[str, int] = {}
        for question, text in self.pairs():
            answers.setdefault(question, texts.setdefault(text, len(texts)))
        return Questions(list(texts), list(answers), np.array(list(answers.values())))


def _squad(given: Iterable[Any]) -> Iterator[Pair]:
    for article in given:
        for block in article["paragraphs"]:
            yield from ((asked["question"], block["context"]) for asked in block["qas"])


def _xquad(language: str) -> Iterator[Pair]:
    return _squad(articles(language))


def _squad_of(repository: Repository, name: str) -> Iterator[Pair]:
    return _squad(json.loads((repository.files() / name).read_text("utf-8"))["data"])


def _thai(repository: Repository, name: str) -> Iterator[Pair]:
    for line in (repository.files() / name).read_text("utf-8").splitlines():
        asked = json.loads(line)
        yield asked["question"], asked["context"]


def _news(repository: Repository, *names: str) -> Iterator[Pair]:
    for name in names:
        with (repository.files() / name).open(encoding="utf-8") as file:
            for story in csv.DictReader(file, delimiter="\t"):
                yield story["headline"].strip(), story["text"].strip()[:_NEWS_CHARS]


def _abstracts(repository: Repository, name: str) -> Iterator[Pair]:
    asked: Mapping[str, Any] = json.loads((repository.files() / name).read_text("utf-8"))
    return ((one["QUESTION"], " ".join(one["CONTEXTS"])) for one in asked.values())


def _github(name: str, commit: str, licence: str) -> Repository:
    return Repository(f"https://github.com/{name}", commit, licence)


_JAQUAD = _github("SkelterLabsInc/JaQuAD", "23f5d72cc273c49b35e2d9efe0f51757aa1770bd", "CC BY-SA")
_CMRC = _github("ymcui/cmrc2018", "c0eb1b6ba219847457e6af3180da722bbeb656af", "CC BY-SA 4.0")
_IAPP = _github(
    "iapp-technology/iapp-wiki-qa-dataset", "644a29c59bac62d5b15b9e9b06c55bba00708eca", "MIT"
)
_NEWS = _github("masakhane-io/masakhane-news", "819be052e79e0a600e0ed4a7356594681cb5c4f3", "AFL")
_PUBMED = _github("pubmedqa/pubmedqa", "1cbae8e92f72f20c8d3747cbb3bf5bc53554d997", "MIT")
SETS = (
    QuestionSet("JaQuAD ja", partial(_squad_of, _JAQUAD, "data/dev/jaquad_dev_0000.json"), True),
    QuestionSet("XQuAD ru", partial(_xquad, "ru"), chooses=True),
    *(
        QuestionSet(f"XQuAD {language}", partial(_xquad, language))
        for language in ("ar", "hi", "th")
    ),
    QuestionSet("CMRC 2018 zh", partial(_squad_of, _CMRC, "squad-style-data/cmrc2018_dev.json")),
    QuestionSet("iApp th", partial(_thai, _IAPP, "squad_format/data/test.jsonl")),
    QuestionSet("MasakhaNEWS sw", partial(_news, _NEWS, "data/swa/test.tsv", "data/swa/dev.tsv")),
    QuestionSet("PubMedQA en", partial(_abstracts, _PUBMED, "data/ori_pqal.json")),
)


def questions(settings: Settings) -> None:
    """The loss of both bundles, the English one on sets in English."""
    rows = [row for name in ("multilingual", "english") for row in _of_bundle(settings, name)]
    choosing = ", ".join(one.name for one in SETS if one.chooses)
    intro = _INTRO.format(sets=", ".join(one.name for one in SETS), choosing=choosing, most=_MOST)
    headings = (
        "model", "set", "questions", "dense nDCG@10", "loss, %", "±", "half merged: loss, %",
    )  # fmt: skip
    report(settings, "Dynamic sparse inference: questions ask", intro, table(headings, rows))


def _of_bundle(settings: Settings, name: str) -> Iterator[tuple[object, ...]]:
    fetch(read_bundle(name))
    spec, judged = f"bundle:{name}", list[tuple[Loss, float]]()
    models = {
        wish: load_model(spec, quantization="int8", n_threads=1, enable_dsre=wish)
        for wish in (False, True)
    }
    for asked in SETS:
        if name == "english" and not asked.name.endswith(" en"):
            continue
        note(f"{spec}, {asked.name}")
        given = asked.read()
        n = settings.items(_MOST, 40)
        some = np.flatnonzero(given.right < n)
        queries = embed(models[False], [given.questions[i] for i in some], asked=True)
        right = given.right[some]
        dense, merged = (
            embed(model, given.paragraphs[:n], asked=False, max_tokens=_MAX_TOKENS)
            for model in models.values()
        )
        found = search(queries, dense, right)
        loss = compare(found, search(queries, merged, right))
        halves = [search(queries, rows, right) for rows in _halves(dense, merged)]
        half = float(np.mean([compare(found, outcome).ndcg for outcome in halves]))
        if not asked.chooses:
            judged.append((loss, half))
        label = asked.name + ", chosen on" * asked.chooses
        figures = _percent(loss.ndcg, loss.error, half)
        yield spec, label, len(some), f"{found.ndcg.mean():.3f}", *figures
    error = float(np.sqrt(np.sum([loss.error**2 for loss, _ in judged]))) / len(judged)
    mean = float(np.mean([loss.ndcg for loss, _ in judged]))
    half = float(np.mean([half for _, half in judged]))
    yield spec, "mean of the judged sets", "", "", *_percent(mean, error, half)


def _halves(dense: Embeddings, merged: Embeddings) -> Iterator[Embeddings]:
    even = np.arange(len(dense))[:, None] % 2 == 0
    yield from (np.where(even, dense, merged), np.where(even, merged, dense))


def _percent(loss: float, error: float, half: float) -> tuple[str, str, str]:
    return (
        _LOSS.beside(100 * loss, ".2f"), f"{100 * error:.2f}", _LOSS.beside(100 * half, ".2f")
    )  # fmt: skip

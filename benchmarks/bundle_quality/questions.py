"""Questions to paragraphs in three languages, and across them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.bundle_quality.report import Figure, write
from benchmarks.harness.reporting import Settings
from benchmarks.harness.sources import Repository
from encoder.dsre.fitting.judge import search
from encoder.loading import load_model
from encoder.models.bundle.declaration import read_bundle
from encoder.prepare.bundle.fetch import fetch
from encoder.towers.model import Model
from encoder.types import TEXT, Embeddings

_XQUAD = Repository(
    "https://github.com/google-deepmind/xquad",
    "7d30520c717524000f0d9d2f9c10a069acd9d285",
    "CC BY-SA 4.0",
)
_LANGUAGES = ("en", "de", "zh", "hi")
_SAME = {"en": 0.92, "de": 0.89, "zh": 0.87, "hi": None}
_ACROSS = {("de", "en"): None, ("zh", "en"): 0.62}
_AT_ONCE = 64

ABOUT = """
XQuAD (Artetxe et al. 2020; CC BY-SA 4.0): 240 paragraphs of Wikipedia and 1,190 questions, each by
professional translators in English, German, Chinese and Hindi. A question asks for its own
paragraph among the 240 of a language; the cosine alone ranks, and a tie counts against it.
Questions of equal words count once, as in MTEB's XQuADRetrieval. Everything is measured, there is
no other split. Published for multilingual-e5-small in float32 (MTEB's results, revision fd1525a):
Hindi R@1 .908, nDCG@10 .954.
"""


@dataclass(frozen=True)
class Questions:
    """Questions and paragraphs of one language.

    Args:
        paragraphs: in the order of the file, the same in all languages.
        questions: likewise.
        right: the paragraph of each question.
    """

    paragraphs: list[str]
    questions: list[str]
    right: NDArray[np.int64]


def articles(language: str) -> list[Any]:
    """XQuAD's articles in a language, the same in all."""
    path = _XQUAD.files() / f"xquad.{language}.json"
    data: list[Any] = json.loads(path.read_text("utf-8"))["data"]
    return data


def read(language: str) -> Questions:
    """XQuAD in a language."""
    blocks = [block for article in articles(language) for block in article["paragraphs"]]
    asked = [(one["question"], i) for i, block in enumerate(blocks) for one in block["qas"]]
    return Questions(
        [block["context"] for block in blocks],
        [question for question, _ in asked],
        np.array([place for _, place in asked]),
    )


def embed(
    model: Model,
    texts: list[str],
    *,
    asked: bool,
    at_once: int = _AT_ONCE,
    max_tokens: int | None = None,
) -> Embeddings:
    """Unit rows from the tower for a role, in batches of texts of similar length.

    Texts are cut to ``max_tokens``, the last of which stays the one that ends a text.
    """
    tower = model.queries.get(TEXT, model.towers[TEXT]) if asked else model.towers[TEXT]
    prepared = [tower.prepare(text) for text in texts]
    if max_tokens is not None:
        prepared = [
            ids if len(ids) <= max_tokens else np.append(ids[: max_tokens - 1], ids[-1])
            for ids in prepared
        ]
    order = np.argsort([len(ids) for ids in prepared])
    rows = [
        tower.forward([prepared[place] for place in order[start : start + at_once]]).rows
        for start in range(0, len(order), at_once)
    ]
    found: Embeddings = np.concatenate(rows)[np.argsort(order)]
    return found


def figures(name: str, model: Model, *, has_bars: bool = False) -> Iterator[Figure]:
    """What a model finds, in and across languages."""
    sets = {language: read(language) for language in _LANGUAGES}
    asked = {one: embed(model, sets[one].questions, asked=True) for one in _LANGUAGES}
    given = {one: embed(model, sets[one].paragraphs, asked=False) for one in _LANGUAGES}
    pairs = {(one, one): bar for one, bar in _SAME.items()} | _ACROSS
    for (of, among), bar in pairs.items():
        _, first = np.unique(sets[of].questions, return_index=True)
        right = sets[of].right[first]
        found = search(asked[of][first], given[among], right)
        what = f"{name}: {of} → {among}"
        hits = (found.ndcg == 1.0).astype(np.float64)
        yield Figure(what, "R@1", hits, right, bar if has_bars else None)
        yield Figure(what, "nDCG@10", found.ndcg, right)


def measure() -> Iterator[Figure]:
    """The multilingual bundle in float32 and int8, and the English one."""
    for name, precision in (("multilingual", None), ("multilingual", "int8"), ("english", "int8")):
        fetch(read_bundle(name))
        model = load_model(f"bundle:{name}", quantization=precision)
        label = f"{name}, {precision or 'float32'}"
        yield from figures(label, model, has_bars=name == "multilingual")


def main(settings: Settings) -> None:
    """Measure, and report."""
    write(settings, "questions to paragraphs", ABOUT, measure())

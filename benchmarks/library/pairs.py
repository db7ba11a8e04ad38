"""A question in one language whose answer stands in another, beside paragraphs of its own.

XQuAD's 240 paragraphs in English, German and Chinese, a plain text file each, in one store. For a
pair of languages only two halves of them compete, by a filter on folders: articles with even
numbers in the language of the answers, those with odd numbers in the language of the questions. The
first question of each paragraph is asked: those of even articles have their answer in the other
language only, those of odd ones in their own. Written before the first run.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

from benchmarks.bundle_quality.questions import articles
from benchmarks.harness.results_pages import table
from benchmarks.library.asking import engine_over, ingest
from benchmarks.library.corpus import LANGUAGES
from encoder.types import QUERY, TEXT, Item
from search import Query, SearchEngine
from search.filters import parse_filter
from search.types import READINGS

_PARTS = ("even", "odd")


def measure(folder: Path, store: Path | None) -> str:
    """Ingest what is missing, unless a store is given; ask, and report."""
    asked_of = dict(_write(folder / "files"))
    if store is None:
        store = folder / "store"
        ingest(folder / "files", store)
    rows = []
    with engine_over(store) as engine:
        for of, among in permutations(LANGUAGES, 2):
            shares = [_found(engine, folder / "files", asked_of, of, among, p) for p in _PARTS]
            rows.append([f"{of} → {among}", *(f"{share:.3f}" for pair in shares for share in pair)])
    return table(["questions → foreign", "foreign R@1", "R@10", "own R@1", "R@10"], rows)


def _write(files: Path) -> Iterator[tuple[tuple[str, str], dict[str, str]]]:
    """Write the paragraphs; for each language and part, the question of each file's name."""
    for language in LANGUAGES:
        data = articles(language)
        for part in (0, 1):
            folder = files / language / _PARTS[part]
            folder.mkdir(parents=True, exist_ok=True)
            asked = dict[str, str]()
            for number, article in list(enumerate(data))[part::2]:
                for place, paragraph in enumerate(article["paragraphs"]):
                    name = f"{number:02}{place}.txt"
                    (folder / name).write_text(paragraph["context"], "utf-8")
                    asked[name] = paragraph["qas"][0]["question"]
            yield (language, _PARTS[part]), asked


def _found(
    engine: SearchEngine,
    files: Path,
    asked_of: dict[tuple[str, str], dict[str, str]],
    of: str,
    among: str,
    part: str,
) -> tuple[float, float]:
    """R@1 and R@10 of questions whose answers are in a part."""
    folders = [f"{files}/{among}/even/", f"{files}/{of}/odd/"]
    within = parse_filter({"or": [{"field": "path", "prefix": one} for one in folders]})
    ranks = list[int]()
    for name, text in asked_of[of, part].items():
        query = Query([Item(TEXT, text, QUERY)], filter=within, understand=READINGS)
        found = [hit.uri.rpartition("/")[2] for hit in engine.search(query).hits]
        ranks.append(found.index(name) if name in found else 1000)
    return sum(rank == 0 for rank in ranks) / len(ranks), sum(r < 10 for r in ranks) / len(ranks)

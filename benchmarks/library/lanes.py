"""The bundle cut into lanes of texts, pictures and sounds: one calibrated list, or one of ranks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.harness.results_pages import table
from benchmarks.library.asking import Answer, asked_of
from benchmarks.library.questions import Question
from benchmarks.library.report import FOUND, share
from encoder.system.batched import in_batches
from encoder.types import AUDIO, IMAGE, QUERY, TEXT, VIDEO, Embeddings, Item
from search import Hit, Query, SearchEngine
from search.query.terms import ItemEncoder
from search.store.open import open_laned
from search.types import READINGS
from workers.config import Settings
from workers.serving.resources import Resources

_LANES = {"texts": (TEXT,), "pictures": (IMAGE, VIDEO), "sounds": (AUDIO,)}
_ONE, _CUT = "one space, calibrated", "three lanes, calibrated"
_DEPTHS = (10, 100)
_RANK_0 = 60
"""Of reciprocal rank fusion: a hit at rank r counts 1 / (60 + r)."""


class Part:
    """The bundle as the model of one lane, whose space is its own."""

    def __init__(self, bundle: ItemEncoder, name: str) -> None:
        self._bundle, self.model = bundle, f"{bundle.model}, {name}"
        self.modalities = bundle.modalities
        self.space = replace(bundle.space, identity={**bundle.space.identity, "lane": name})

    def encode_items(self, items: Sequence[Item]) -> Embeddings:
        """See `search.query.terms.ItemEncoder`."""
        return self._bundle.encode_items(items)


@contextmanager
def _cut(store: Path) -> Iterator[tuple[SearchEngine, SearchEngine]]:
    """Engines over a store, and over its rows in a store of lanes."""
    resources = Resources(Settings(store=str(store)))
    bundle, whole = resources.encoder().home, resources.existing_store(hold=False)
    parts = {kinds: Part(bundle, name) for name, kinds in _LANES.items() if TEXT not in kinds}
    lanes = {modality: part for kinds, part in parts.items() for modality in kinds}
    with TemporaryDirectory() as folder:
        spaces = {modality: part.space for modality, part in lanes.items()}
        cut = open_laned(folder, bundle.space, spaces, {})
        for assets in in_batches(whole.scan(), 100):
            cut.write(assets, [row for one in assets for row in whole.embeddings(one.asset_id)])
        constants = whole.stored_calibration()
        cut.recalibrate(constants.constants, constants.about)
        with (
            closing(SearchEngine(bundle, whole)) as whole_engine,
            closing(SearchEngine(bundle, cut, lanes=lanes)) as cut_engine,
        ):
            yield whole_engine, cut_engine
        cut.close()
    resources.close()


def by_ranks(engine: SearchEngine, question: Question, depth: int) -> Answer:
    """Reciprocal rank fusion of the first hits of each lane, each as it ranks alone."""
    points: dict[str, float] = defaultdict(float)
    hits: dict[str, Hit] = {}
    for kinds in _LANES.values():
        query = Query([Item(TEXT, question.text, QUERY)], kinds, depth, understand=READINGS)
        for rank, hit in enumerate(engine.search(query).hits, 1):
            points[hit.asset_id] += 1 / (_RANK_0 + rank)
            hits.setdefault(hit.asset_id, hit)
    order = sorted(hits, key=lambda asset_id: -points[asset_id])
    return Answer(question, [hits[asset_id] for asset_id in order[:10]], ())


def measure(store: Path, wanted: Sequence[Question]) -> str:
    """A table of the lists that lanes can become."""
    found = [question for question in wanted if question.group in FOUND]
    with _cut(store) as (whole, cut):
        answers = {name: asked_of(engine, found) for name, engine in ((_ONE, whole), (_CUT, cut))}
        for depth in _DEPTHS:
            of_ranks = [by_ranks(cut, question, depth) for question in found]
            answers[f"three lanes, by ranks to {depth}"] = of_ranks
    pages = [[hit.asset_id for hit in answer.hits] for answer in answers[_ONE]]
    rows = list[list[object]]()
    for name, listed in answers.items():
        same = (
            [h.asset_id for h in one.hits] == page for one, page in zip(listed, pages, strict=True)
        )
        ranks = (share(one.rank(weak=True) < at for one in listed) for at in (1, 5))
        rows.append([name, len(listed), *ranks, share(same)])
    return table(["list", "questions", "@1 all", "@5 all", "pages as of one space"], rows)

"""Three models in one store: ``OPENBLAS_NUM_THREADS=1 python -m benchmarks.models.lanes``.

e5, and a SigLIP and a CLAP of published size with random weights, over 20,000 segments in a folder.
The command line sets that variable for itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

import numpy as np

from benchmarks.harness.results_pages import table, write_section
from benchmarks.harness.timing import take_turns
from benchmarks.models.subjects import save
from encoder import MultiModalEncoder
from encoder.lane import Lane
from encoder.space import Calibration, l2_normalize
from encoder.types import AUDIO, IMAGE, QUERY, TEXT, Embeddings, Item, Modality
from search import Query, SearchEngine, open_store
from search.store.base import VectorStore
from search.store.laned import LanedStore
from search.types import AssetRow, SegmentRow

_N = {TEXT: 12_000, IMAGE: 6_000, AUDIO: 2_000}
_PER_TEXT = 6
_NOISE = 1.2
_ROUNDS = 5
_THINGS = "boat harbour bread oven council violin glacier river garden railway bridge comet".split()
_WORDS = [f"the {a} near the old {b}" for a in _THINGS for b in _THINGS if a < b]

_ABOUT = """\
CPU-ms of a query of six words in one space (e5) and in three, and of their towers alone, in int8;
medians of {rounds} rounds of {n} queries in turns. Recall@10 of the list by meaning against all
rows of all lanes."""


class Tower:
    """A lane's model with constants that suit its random rows."""

    def __init__(self, lane: Lane, modalities: Sequence[Modality]) -> None:
        self.model, self.modalities, self._lane = lane.model, lane.modalities, lane
        self.asked = l2_normalize(self.encode_items([Item(TEXT, words, QUERY) for words in _WORDS]))
        rng = np.random.default_rng(len(modalities))
        self.rows = {kind: self._near(rng, _N[kind]) for kind in modalities}
        cosines = {kind: self.asked @ rows.T for kind, rows in self.rows.items()}
        constants = {
            kind: Calibration(float(c.mean()), float(c.std())) for kind, c in cosines.items()
        }
        self.space = replace(lane.space, calibration=constants, floors={}, centring=None)

    def encode_items(self, items: Sequence[Item]) -> Embeddings:
        """See `search.query.terms.ItemEncoder`."""
        return self._lane.encode_items(items)

    def _near(self, rng: np.random.Generator, n: int) -> Embeddings:
        """Unit rows [n, embed_dim] around the queries' own."""
        around = self.asked[rng.integers(len(self.asked), size=n)]
        noise = l2_normalize(rng.standard_normal(around.shape, np.float32))
        return l2_normalize(around + _NOISE * noise)

    def store(self, folder: Path) -> VectorStore:
        """A new one for its space."""
        space = self.space
        return open_store(
            str(folder), space.fingerprint, space.embed_dim, calibration=space.calibration
        )


def _fill(store: VectorStore, rows: Mapping[Modality, Embeddings]) -> None:
    for kind, vectors in rows.items():
        per_asset = _PER_TEXT if kind == TEXT else 1
        ids = [f"{kind}-{number // per_asset:08d}" for number in range(len(vectors))]
        for at in range(0, len(vectors), 600):
            batch = range(at, min(at + 600, len(vectors)))
            segments = [
                SegmentRow(f"{kind}{n:08d}", ids[n], kind, n % per_asset, vectors[n], snippet=said)
                for n in batch
                for said in [_WORDS[n % len(_WORDS)] if kind == TEXT else ""]
            ]
            assets = [
                AssetRow(name, kind, f"{kind}/x", 1, per_asset, [f"/data/{name}"], {})
                for name in dict.fromkeys(ids[n] for n in batch)
            ]
            store.write(assets, segments)


def _recall(engine: SearchEngine, towers: Sequence[Tower]) -> float:
    """The share of the ten best assets by brute force over all rows that a page by meaning has."""
    found = 0
    for number, words in enumerate(_WORDS):
        best: dict[str, float] = {}
        for tower in towers:
            for kind, rows in tower.rows.items():
                scores = tower.space.calibration[kind].apply(
                    (rows @ tower.asked[number]).astype(np.float64)
                )
                per_asset = _PER_TEXT if kind == TEXT else 1
                for n, score in enumerate(scores.reshape(-1, per_asset).max(axis=1)):
                    best[f"{kind}-{n:08d}"] = score
        exact = sorted(best, key=lambda name: -best[name])[:10]
        query = Query([Item(TEXT, words, QUERY)], lexical=False, limit=10, stacks=False)
        found += len({hit.asset_id for hit in engine.search(query).hits} & {*exact})
    return found / (10 * len(_WORDS))


def _search(engine: SearchEngine) -> None:
    for words in _WORDS:
        engine.search(Query([Item(TEXT, words, QUERY)]))


def _encode(tower: Tower) -> None:
    for words in _WORDS:
        tower.encode_items([Item(TEXT, words, QUERY)])


def measure(made: Mapping[str, Path], folder: Path) -> str:
    """The table for models in these folders; stores are made in ``folder``."""
    encoder = MultiModalEncoder(
        models={"text": "bundle:multilingual"} | {k: f"dir:{path}" for k, path in made.items()},
        quantization="int8",
    )
    home, whole = Tower(encoder.home, [TEXT]), Tower(encoder.home, [*_N])
    lanes = {kind: Tower(encoder.lane(kind), [kind]) for kind in (IMAGE, AUDIO)}
    towers = [home, *lanes.values()]
    with ExitStack() as stack:
        in_one = whole.store(folder / "one")
        cut = LanedStore(
            home.store(folder / "home"),
            {kind: tower.store(folder / f"{kind}-store") for kind, tower in lanes.items()},
        )
        for store, some in ((in_one, [whole]), (cut, towers)):
            stack.enter_context(closing(store))
            for tower in some:
                _fill(store, tower.rows)
        engines = [
            stack.enter_context(closing(SearchEngine(whole, in_one))),
            stack.enter_context(closing(SearchEngine(home, cut, lanes=lanes))),
        ]
        ways = {
            "one lane": partial(_search, engines[0]),
            "three lanes": partial(_search, engines[1]),
        } | {f"tower {n}": partial(_encode, tower) for n, tower in enumerate(towers)}
        times = take_turns(ways, n_rounds=_ROUNDS, n_warm_up=1, clock=process_time)
        cpu = {name: times.median_ms(name) / len(_WORDS) for name in ways}
        exact = list(map(_recall, engines, ([whole], towers)))
    e5, *others = (cpu[f"tower {n}"] for n in range(len(towers)))
    beyond = (cpu["three lanes"] - sum(others)) / cpu["one lane"] - 1
    more = f"{beyond:+.0%} (≤ 25%: {'met' if beyond <= 0.25 else 'missed'})"
    of_towers = " + ".join(f"{ms:.1f}" for ms in (e5, *others))
    rows = [
        ["one lane", f"{cpu['one lane']:.1f}", f"{e5:.1f}", "", f"{exact[0]:.3f}"],
        ["three lanes", f"{cpu['three lanes']:.1f}", of_towers, more, f"{exact[1]:.3f}"],
    ]
    headings = ["", "CPU-ms", "of towers", "without further towers, over one lane", "recall@10"]
    return f"{_ABOUT.format(rounds=_ROUNDS, n=len(_WORDS))}\n\n{table(headings, rows)}"


_COMMAND = "OPENBLAS_NUM_THREADS=1 python -m benchmarks.models.lanes"
_MODELS = {"image": "SigLIP 2 base", "audio": "CLAP"}


def main() -> None:
    """Measure, print, and write the section."""
    with TemporaryDirectory(prefix="anymodal-lanes-") as folder:
        made = {kind: save(name, Path(folder) / kind) for kind, name in _MODELS.items()}
        body = measure(made, Path(folder))
    print(body, flush=True)
    write_section("Search in three lanes", _COMMAND, body)


if __name__ == "__main__":
    main()

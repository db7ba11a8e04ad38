"""What a gate gains in the product: the speed of the multilingual tower."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.bundle_quality.questions import read
from benchmarks.dsre.subjects import Ids, batch, eager
from benchmarks.harness.reporting import Bar, Settings, note, report
from benchmarks.harness.results_pages import table
from benchmarks.harness.timing import Ratio, Times, on_one_core, take_turns
from encoder.dsre.gatefile import GateFile
from encoder.dsre.settings import GateSettings
from encoder.loading import load_model
from encoder.models.bundle.declaration import read_bundle
from encoder.models.sparsity import Wish
from encoder.prepare.bundle.fetch import fetch
from encoder.prepare.gates.subjects import open_subject
from encoder.towers.model import Model
from encoder.types import TEXT

MULTILINGUAL = "bundle:multilingual"
EAGER, DENSE = "torch, float32, dense", "int8, dense"
SHIPPED, UNTRAINED = "int8, the gate", "int8, layers 2 to 12 at .65, untrained"
_GATED = (SHIPPED, UNTRAINED)
_FASTER = {512: Bar(at_least=1.68), 256: Bar(at_least=1.4)}
_OVER_EAGER = Bar(at_least=5.0)

_TOWER = """Protocol, written before the first run: the tower of bundle:multilingual
(multilingual-e5-small) with its gate, and with one whose weights were not trained to make up for
merging (benchmarks/tried.md), which was tried before."""
_TIMES = """One English text, cut to the length; seconds of the processor, candidates taking turns;
medians and the middle 80 % of the rounds."""


def rarity(folder: Path) -> NDArray[np.uint8]:
    """How rare each token is, by the log-probabilities of its tokenizer; uint8 [vocab_size]."""
    vocab = json.loads((folder / "tokenizer.json").read_text("utf-8"))["model"]["vocab"]
    scores = np.array([score for _, score in vocab])
    found: NDArray[np.uint8] = np.round(255 * scores / scores.min()).astype(np.uint8)
    size = json.loads((folder / "config.json").read_text("utf-8"))["vocab_size"]
    return np.pad(found, (0, size - len(found)), constant_values=255)


def speed(settings: Settings) -> None:
    """How fast the multilingual tower is with its gate, and with an untrained one."""
    with tempfile.TemporaryDirectory() as scratch:
        models = _models(Path(scratch))
        rows = [row for length in _FASTER for row in _speed(settings, models, length)]
    headings = ("tokens", "network", "ms", "× torch, float32", "× int8, dense")
    title = "Dynamic sparse inference: speed of the multilingual tower"
    report(settings, title, _TOWER, _TIMES, table(headings, rows))


def _models(scratch: Path) -> dict[str, Model]:
    untrained = GateFile(
        rarity(fetch(read_bundle("multilingual")) / "text"), GateSettings((None, *[0.65] * 11))
    )
    untrained.save(scratch / "gate.npz")
    wishes: dict[str, Wish] = {
        DENSE: False, SHIPPED: True, UNTRAINED: str(scratch / "gate.npz"),
    }  # fmt: skip
    models = {
        name: load_model(MULTILINGUAL, quantization="int8", n_threads=1, enable_dsre=wish)
        for name, wish in wishes.items()
    }
    for model in models.values():  # opens the networks while the gates' files exist
        model.towers[TEXT].forward([np.full(200, 5)])
    return models


def _speed(
    settings: Settings, models: Mapping[str, Model], length: int
) -> Iterator[tuple[object, ...]]:
    import torch

    torch.set_num_threads(1)
    text = models[DENSE].towers[TEXT].prepare(" ".join(read("en").paragraphs[:5]))
    ids: Ids = np.asarray(text, np.int64)[:length]
    dense, inputs = eager(open_subject(MULTILINGUAL).dense), batch([ids])
    candidates = {EAGER: lambda: dense(inputs)}
    for name, model in models.items():
        candidates[name] = lambda model=model: model.towers[TEXT].forward([ids])
    note(f"speed at {length} tokens")
    with on_one_core():
        times = take_turns(
            candidates, n_rounds=settings.items(25, 2), n_warm_up=1, clock=time.process_time
        )
    yield from speed_rows(times, length)


def speed_rows(times: Times, length: int) -> Iterator[tuple[object, ...]]:
    """A row for each network, with the bars of its length."""
    for name in times.names:
        eager_bar, dense_bar = (_OVER_EAGER, _FASTER[length]) if name in _GATED else (None,) * 2
        over = "" if name == EAGER else _judged(times.speedup(name, EAGER), eager_bar)
        same = _judged(times.speedup(name, DENSE), dense_bar) if dense_bar else ""
        yield length, name, f"{times.median_ms(name):.0f}", over, same


def _judged(ratio: Ratio, bar: Bar | None) -> str:
    return f"{ratio}; {bar.beside(ratio.median, '.2f')}" if bar else str(ratio)

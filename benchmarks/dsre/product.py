"""What a gate gains in the product: the speed of the multilingual tower."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

import numpy as np

from benchmarks.bundle_quality.questions import read
from benchmarks.dsre.subjects import Ids, batch, eager
from benchmarks.harness.reporting import Bar, Settings, note, report
from benchmarks.harness.results_pages import table
from benchmarks.harness.timing import Ratio, Times, on_one_core, take_turns
from encoder.loading import load_model
from encoder.models.bundle.declaration import read_bundle
from encoder.prepare.bundle.fetch import fetch
from encoder.prepare.gates.subjects import open_subject
from encoder.towers.model import Model
from encoder.types import TEXT

MULTILINGUAL = "bundle:multilingual"
EAGER, DENSE = "torch, float32, dense", "int8, dense"
SHIPPED = "int8, the gate"
_FASTER = {512: Bar(at_least=1.68), 256: Bar(at_least=1.4)}
_OVER_EAGER = Bar(at_least=5.0)

_TOWER = """Protocol, written before the first run: the tower of bundle:multilingual
(multilingual-e5-small) with its gate."""
_TIMES = """One English text, cut to the length; seconds of the processor, candidates taking turns;
medians and the middle 80 % of the rounds."""


def speed(settings: Settings) -> None:
    """How fast the multilingual tower is with its gate."""
    models = _models()
    rows = [row for length in _FASTER for row in _speed(settings, models, length)]
    headings = ("tokens", "network", "ms", "× torch, float32", "× int8, dense")
    title = "Dynamic sparse inference: speed of the multilingual tower"
    report(settings, title, _TOWER, _TIMES, table(headings, rows))


def _models() -> dict[str, Model]:
    fetch(read_bundle("multilingual"))
    return {
        name: load_model(MULTILINGUAL, quantization="int8", n_threads=1, enable_dsre=wish)
        for name, wish in ((DENSE, False), (SHIPPED, True))
    }


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
        eager_bar, dense_bar = (_OVER_EAGER, _FASTER[length]) if name == SHIPPED else (None,) * 2
        over = "" if name == EAGER else _judged(times.speedup(name, EAGER), eager_bar)
        same = _judged(times.speedup(name, DENSE), dense_bar) if dense_bar else ""
        yield length, name, f"{times.median_ms(name):.0f}", over, same


def _judged(ratio: Ratio, bar: Bar | None) -> str:
    return f"{ratio}; {bar.beside(ratio.median, '.2f')}" if bar else str(ratio)

"""Latency over HTTP by kind of query, against the same server and model without optimisations."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.api import queries
from benchmarks.api.load import ask
from benchmarks.api.servers import serving
from benchmarks.api.stores import filled_lite, filled_server
from benchmarks.harness.reporting import Bar, Settings, note, report
from benchmarks.harness.results_pages import table
from benchmarks.harness.timing import Times
from benchmarks.products.measure import tree_cpu_s
from examples.samples import make_samples

OURS, FLOAT32 = "ours", "float32 torch"
_FASTER = Bar(at_least=1.8)
_HEAD = (
    "query", "server", "p50, ms", "p95, ms", "p99, ms", "CPU-ms", "times float32 by the clock",
    "times float32 in CPU",
)  # fmt: skip
_ABOUT = """\
Milliseconds of `POST /v1/search` as one client on the same machine sees them, from the request's
first byte to the answer's last, and CPU-milliseconds of the server's processes (that of Milvus left
out); no two queries are alike. The servers take turns: {rounds}. Ratios are within rounds, medians
and the middle 80 %. Float32 torch is the same server and the same model with the weights before
quantization, without batches and without memory of queries; all else, the search included, is ours.
The text network's weights are published in four bits: int8 and float32 are both made of them. Load
of the machine at the end {load}, with {cores} cores."""


@dataclass(frozen=True)
class Kind:
    """A kind of query.

    Args:
        bodies: request bodies, without end.
        per_round: how many queries each server gets in a round.
        n_rounds: how often.
        bars: of percentiles in milliseconds, by name.
    """

    bodies: Iterator[bytes]
    per_round: int
    n_rounds: int
    bars: Mapping[str, Bar]


@dataclass(frozen=True)
class Measured:
    """A server's milliseconds [n_rounds, per_round] and CPU-seconds a query [n_rounds]."""

    ms: NDArray[np.float64]
    cpu_s: NDArray[np.float64]


def kinds(samples: Path) -> dict[str, Kind]:
    """The kinds of query and their bars."""
    of_text = {"p50": Bar(at_most=25), "p95": Bar(at_most=60)}
    return {
        "text": Kind(queries.texts(), 20, 15, of_text),
        "image": Kind(queries.images(samples), 8, 10, {"p95": Bar(at_most=90)}),
        "sound of 5 s": Kind(queries.sounds(samples), 4, 3, {"p95": Bar(at_most=250)}),
    }


def main(settings: Settings) -> None:
    """Over a store in a folder."""
    with filled_lite(settings) as folder, tempfile.TemporaryDirectory() as name:
        shutil.copytree(folder, Path(name) / "store")  # one server holds a folder
        _report(settings, "Search API: latency", folder, str(Path(name) / "store"))


def on_milvus(settings: Settings) -> None:
    """Over a genuine Milvus server."""
    with filled_server(settings) as uri:
        _report(settings, "Search API: latency on Milvus", uri, uri)


def _report(settings: Settings, title: str, ours: str, theirs: str) -> None:
    """Query both servers in turn."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        scratch = Path(name)
        make_samples(scratch / "samples")
        servers = {
            way: stack.enter_context(
                serving(store, scratch / f"{way}.log", "--processes", "1", baseline=way != OURS)
            )
            for way, store in ((OURS, ours), (FLOAT32, theirs))
        }
        rows = list[tuple[str, ...]]()
        asked = kinds(scratch / "samples")
        for kind, what in asked.items():
            note(kind)
            rows += _rows(kind, what, measure(what, servers, settings))
    rounds = ", ".join(
        f"{settings.items(what.n_rounds, 2)} rounds of {what.per_round} queries by {kind}"
        for kind, what in asked.items()
    )
    about = _ABOUT.format(rounds=rounds, load=f"{os.getloadavg()[0]:.1f}", cores=os.cpu_count())
    report(settings, title, about, table(_HEAD, rows))


def measure(
    kind: Kind, servers: Mapping[str, tuple[int, int]], settings: Settings
) -> dict[str, Measured]:
    """What each server took; a first round warms up."""
    rounds: dict[str, list[tuple[list[float], float]]] = {name: [] for name in servers}
    for number in range(settings.items(kind.n_rounds, 2) + 1):
        for name, (port, pid) in servers.items():
            before_s = tree_cpu_s(pid)
            load = ask(port, kind.bodies, kind.per_round)
            cpu_s = tree_cpu_s(pid) - before_s
            if load.errors:
                raise RuntimeError(f"{name}: {load.errors[0]}")
            if number:
                rounds[name].append((list(load.ms), cpu_s / kind.per_round))
    return {
        name: Measured(np.array([ms for ms, _ in of]), np.array([cpu_s for _, cpu_s in of]))
        for name, of in rounds.items()
    }


def _rows(kind: str, asked: Kind, measured: Mapping[str, Measured]) -> Iterator[tuple[str, ...]]:
    names = tuple(measured)
    clock = Times(names, np.array([np.median(of.ms, axis=1) / 1e3 for of in measured.values()]))
    cpu = Times(names, np.array([of.cpu_s for of in measured.values()]))
    for name, of in measured.items():
        shown = []
        for q in (50, 95, 99):
            ms, bar = float(np.percentile(of.ms, q)), asked.bars.get(f"p{q}")
            shown.append(bar.beside(ms, ".1f") if bar and name == OURS else f"{ms:.1f}")
        ratios = [times.speedup(name, FLOAT32) for times in (clock, cpu)]
        faster = [f"{one}; {_FASTER.beside(one.median, '.2f')}" for one in ratios]
        is_ours = name == OURS
        yield kind, name, *shown, f"{1e3 * of.cpu_s.mean():.1f}", *(faster if is_ours else ["", ""])

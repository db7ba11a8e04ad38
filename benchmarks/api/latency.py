"""Latency and throughput over HTTP by kind of query, beside the server without optimisations.

``python -m benchmarks latency [--segments N] [--store ADDRESS]``: of a store in a folder, or of a
new one on a server; with a million segments, how times grow.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.api import queries
from benchmarks.api.clients import Load, ask
from benchmarks.api.stores import default_encoder, fill_store, filled
from benchmarks.harness.processes import free_port, started, tree_cpu_s
from benchmarks.harness.reporting import Bar, Settings, note, report
from benchmarks.harness.results_pages import table
from benchmarks.harness.timing import Times
from examples.samples import make_samples

OURS, FLOAT32 = "ours", "float32 torch"
N_SEGMENTS = 20_000
_FASTER = Bar(at_least=1.8)
_HEAD = (
    "query", "server", "p50, ms", "p95, ms", "p99, ms", "CPU-ms", "times float32 by the clock",
    "times float32 in CPU",
)  # fmt: skip
_ABOUT = """\
{n:,} segments. Milliseconds of `POST /v1/search` as one client on the same machine sees them, from
the request's first byte to the answer's last, and CPU-milliseconds of the server's processes (that
of Milvus left out); no two queries are alike. The servers take turns: {rounds}. Ratios are within
rounds, medians and the middle 80 %. Float32 torch is the same server and the same model with the
weights before quantization, without batches and without memory of queries; all else, the search
included, is ours. The text network's weights are published in four bits: int8 and float32 are both
made of them. Load of the machine at the end {load}, with {cores} cores."""
_CLIENTS, _START_S = 16, 10.0
_MORE, _ERRORS = Bar(at_least=1.8), Bar(at_most=0)


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
    bars: Mapping[str, Bar] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """A server's milliseconds [n_rounds, per_round] and CPU-seconds a query [n_rounds]."""

    ms: NDArray[np.float64]
    cpu_s: NDArray[np.float64]


def kinds(samples: Path) -> dict[str, Kind]:
    """The kinds of query and their bars."""
    of_text = {"p50": Bar(at_most=25), "p95": Bar(at_most=60)}
    tagged = {"filter": {"field": "tags", "contains": "holiday"}}
    return {
        "text": Kind(queries.texts(), 20, 15, of_text),
        "text and a tag": Kind(queries.texts(1, **tagged), 20, 5),
        "image": Kind(queries.images(samples), 8, 10, {"p95": Bar(at_most=90)}),
        "sound of 5 s": Kind(queries.sounds(samples), 4, 3, {"p95": Bar(at_most=250)}),
    }


def latency(settings: Settings) -> None:
    """Query ours and the baseline in turn, each on a copy of one store."""
    given = _options(settings)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        scratch = Path(name)
        make_samples(scratch / "samples")
        servers = {}
        for way in (OURS, FLOAT32):
            store = given.store or str(scratch / way)
            if not given.store:
                shutil.copytree(filled(settings, given.segments), store)
            elif way == OURS:
                fill_store(store, default_encoder(), given.segments)
            log = scratch / f"{way}.log"
            servers[way] = stack.enter_context(serving(store, log, is_baseline=way != OURS))
        rows = list[tuple[str, ...]]()
        asked = kinds(scratch / "samples")
        for kind, what in asked.items():
            note(kind)
            rows += _rows(kind, what, measure(what, servers, settings))
    rounds = ", ".join(
        f"{settings.items(what.n_rounds, 2)} rounds of {what.per_round} queries by {kind}"
        for kind, what in asked.items()
    )
    load = f"{os.getloadavg()[0]:.1f}"
    about = _ABOUT.format(n=given.segments, rounds=rounds, load=load, cores=os.cpu_count())
    report(settings, f"Search API: latency{_which(given)}", about, table(_HEAD, rows))


def _options(settings: Settings) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {settings.part}")
    parser.add_argument("--segments", type=int, default=settings.items(N_SEGMENTS, 2000))
    parser.add_argument("--store", help="address of a server, which takes a new store")
    return parser.parse_args(settings.words)


def _which(given: argparse.Namespace) -> str:
    """What ends the title of a section, unless all is as usual."""
    size = f", {given.segments:,} segments" if given.segments != N_SEGMENTS else ""
    return size + ", on a server" * bool(given.store)


@contextmanager
def serving(
    store: str, log: Path, *, n_processes: int = 1, is_baseline: bool = False
) -> Iterator[tuple[int, int]]:
    """Run `anymodal serve` on a store, or the baseline, until the block ends; its port and PID."""
    port = free_port()
    ours = [Path(sys.executable).with_name("anymodal"), "serve"]
    baseline = [sys.executable, "-m", "benchmarks.api.plain_encoder"]
    command = baseline if is_baseline else ours
    words = [*command, "--port", port, "--store", store, "--processes", n_processes]
    with started(words, port, "/readyz", log) as pid:
        yield port, pid


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


def throughput(settings: Settings) -> None:
    """Sixteen clients against one, and whether every request is answered."""
    given = _options(settings)
    n_many, n_one = settings.items(8_000, 320), settings.items(600, 40)
    with tempfile.TemporaryDirectory() as name:
        store = given.store or str(filled(settings, given.segments))
        if given.store:
            fill_store(store, default_encoder(), given.segments)
        with serving(store, Path(name) / "log", n_processes=os.cpu_count() or 1) as (port, _):
            bodies = queries.texts()
            ask(port, bodies, 50, 4)
            before = ask(port, bodies, n_one)
            ask(port, bodies, 50, _CLIENTS)  # starts a process for each further core
            time.sleep(_START_S)
            note(f"{_CLIENTS} clients")
            many = ask(port, bodies, n_many, _CLIENTS)
            after = ask(port, bodies, n_one)
    alone = (before.per_s + after.per_s) / 2
    rows = [_row("1", before), _row(f"{_CLIENTS}", many), _row("1, afterwards", after)]
    n_errors = len(before.errors) + len(many.errors) + len(after.errors)
    bars = [
        [f"{_CLIENTS} clients, times one", _MORE.beside(many.per_s / alone, ".2f")],
        [f"errors in {n_many + 2 * n_one:,} requests", _ERRORS.beside(n_errors, ".0f")],
    ]
    intro = (
        f"{given.segments:,} segments; text queries, no two alike; each client sends the next one "
        "when it has its answer. Clients and server share the cores."
    )
    headings = ("clients", "answers/s", "p50, ms", "p95, ms", "p99, ms")
    report(
        settings, f"Search API: throughput{_which(given)}", intro, table(headings, rows),
        table(("bar", "seen"), bars), *many.errors[:3],
    )  # fmt: skip


def _row(clients: str, load: Load) -> tuple[str, ...]:
    times = (f"{load.percentile(q):.1f}" for q in (50, 95, 99))
    return clients, f"{load.per_s:.1f}", *times

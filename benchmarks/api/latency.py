"""Latency over HTTP by kind of query, against the same server without its optimisations."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.api import queries
from benchmarks.api.load import ask
from benchmarks.api.servers import serving
from benchmarks.api.stores import filled_lite, filled_server
from benchmarks.harness.reporting import Bar, Settings, note, report
from benchmarks.harness.results_pages import table
from benchmarks.harness.timing import Ratio
from examples.samples import make_samples

OURS, BASELINE, LITE = "ours", "float32 torch", "ours on Milvus Lite"
_FASTER = Bar(at_least=1.6)


@dataclass(frozen=True)
class Kind:
    """A kind of query.

    Args:
        bodies: request bodies, without end.
        per_round: how many queries each server gets in a round.
        bars: percentiles in milliseconds, by name.
    """

    bodies: Iterator[bytes]
    per_round: int
    bars: Mapping[str, Bar]


def kinds(samples: Path) -> dict[str, Kind]:
    """The kinds of query and their bars."""
    return {
        "text": Kind(queries.texts(), 20, {"p50": Bar(at_most=25), "p95": Bar(at_most=60)}),
        "image": Kind(queries.images(samples), 8, {"p95": Bar(at_most=90)}),
        "sound of 5 s": Kind(queries.sounds(samples), 5, {"p95": Bar(at_most=250)}),
    }


def main(settings: Settings) -> None:
    """Query all servers in turn, and report."""
    n_rounds = settings.items(30, 2)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        scratch = Path(name)
        make_samples(scratch / "samples")
        server = stack.enter_context(filled_server(settings))
        lite = stack.enter_context(filled_lite(settings))
        ports = {
            OURS: stack.enter_context(serving(server, scratch / "ours.log")),
            BASELINE: stack.enter_context(serving(server, scratch / "baseline.log", baseline=True)),
            LITE: stack.enter_context(serving(lite, scratch / "lite.log")),
        }
        rows = []
        for kind, asked in kinds(scratch / "samples").items():
            note(kind)
            rows += _rows(kind, asked, measure(asked, ports, n_rounds))
    intro = (
        "Milliseconds of `POST /v1/search` as one client on the same machine sees them, from the "
        f"request's first byte to the answer's last; no two queries are alike. The servers take "
        f"turns, {n_rounds} rounds; ratios are of the medians within a round, with the middle 80 % "
        "of the rounds. The baseline is the same server with torch in float32, without batches and "
        "without memory."
    )
    headings = ("query", "server", "p50", "p95", "p99", "times the baseline")
    report(settings, "Search API: latency", intro, table(headings, rows))


def measure(kind: Kind, ports: Mapping[str, int], n_rounds: int) -> dict[str, np.ndarray]:
    """Milliseconds by server, [n_rounds, per_round]; a first round warms up."""
    rounds: dict[str, list[list[float]]] = {name: [] for name in ports}
    for number in range(n_rounds + 1):
        for name, port in ports.items():
            load = ask(port, kind.bodies, kind.per_round)
            if load.errors:
                raise RuntimeError(f"{name}: {load.errors[0]}")
            if number:
                rounds[name].append(list(load.ms))
    return {name: np.array(found) for name, found in rounds.items()}


def _rows(kind: str, asked: Kind, found: Mapping[str, np.ndarray]) -> list[tuple[str, ...]]:
    rows = []
    for name, ms in found.items():
        figures = {f"p{q}": float(np.percentile(ms, q)) for q in (50, 95, 99)}
        shown = {
            key: asked.bars[key].beside(value, ".1f")
            if name == OURS and key in asked.bars
            else f"{value:.1f}"
            for key, value in figures.items()
        }
        rows.append((kind, name, *shown.values(), _faster(name, found)))
    return rows


def _faster(name: str, found: Mapping[str, np.ndarray]) -> str:
    if name == BASELINE:
        return ""
    ratios = np.median(found[BASELINE], axis=1) / np.median(found[name], axis=1)
    low, middle, high = np.percentile(ratios, [10, 50, 90])
    shown = str(Ratio(float(middle), float(low), float(high)))
    return f"{shown}; {_FASTER.beside(float(middle), '.2f')}" if name == OURS else shown

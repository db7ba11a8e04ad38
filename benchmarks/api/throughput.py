"""The throughput of sixteen clients against one, and whether every request is answered."""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.api import queries
from benchmarks.api.load import Load, ask
from benchmarks.api.servers import serving
from benchmarks.api.stores import filled_lite
from benchmarks.harness.reporting import Bar, Settings, note, report
from benchmarks.harness.results_pages import table

_CLIENTS = 16
_START_S = 10.0
_MORE, _ERRORS = Bar(at_least=1.8), Bar(at_most=0)


def main(settings: Settings) -> None:
    """Measure one client, sixteen, then one again; report."""
    n_many, n_one = settings.items(8_000, 320), settings.items(600, 40)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        store = stack.enter_context(filled_lite(settings))
        port, _ = stack.enter_context(serving(store, Path(name) / "log"))
        bodies = queries.texts()
        ask(port, bodies, 50, 4)
        note("one client")
        before = ask(port, bodies, n_one)
        ask(port, bodies, 50, _CLIENTS)  # starts a process for each further core
        time.sleep(_START_S)
        note(f"{_CLIENTS} clients")
        many = ask(port, bodies, n_many, _CLIENTS)
        note("one client again")
        after = ask(port, bodies, n_one)
    alone = (before.per_s + after.per_s) / 2
    rows = [_row("1", before), _row(f"{_CLIENTS}", many), _row("1, afterwards", after)]
    n_errors = len(before.errors) + len(many.errors) + len(after.errors)
    bars = [
        [f"{_CLIENTS} clients, times one", _MORE.beside(many.per_s / alone, ".2f")],
        [f"errors in {n_many + 2 * n_one:,} requests", _ERRORS.beside(n_errors, ".0f")],
    ]
    intro = (
        "Text queries, no two alike; each client sends the next one when it has its answer. "
        "Clients and server share the cores; the store is a folder."
    )
    headings = ("clients", "answers/s", "p50, ms", "p95, ms", "p99, ms")
    report(
        settings, "Search API: throughput", intro, table(headings, rows),
        table(("bar", "seen"), bars), *many.errors[:3],
    )  # fmt: skip


def _row(clients: str, load: Load) -> tuple[str, ...]:
    times = (f"{load.percentile(q):.1f}" for q in (50, 95, 99))
    return clients, f"{load.per_s:.1f}", *times

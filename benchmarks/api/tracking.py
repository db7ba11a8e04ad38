"""What it costs to track where a request's time goes."""

from __future__ import annotations

import tempfile
import timeit
from contextlib import ExitStack, closing
from pathlib import Path
from statistics import median

from benchmarks.api import queries
from benchmarks.api.load import Client, ask
from benchmarks.api.servers import serving
from benchmarks.api.stores import filled_server
from benchmarks.harness.reporting import Bar, Settings, report
from benchmarks.harness.results_pages import table
from search.api.middleware.metrics import Metrics
from search.api.responses.plain_values import latency_ms, server_timing
from search.latency import LatencyTracker, StageTimer

_COST = Bar(at_most=1)


def cost_us(stages: list[str]) -> float:
    """Microseconds to time these stages, count them, and put them into an answer's header."""
    tracker, metrics = LatencyTracker(), Metrics()

    def request() -> None:
        timer = StageTimer()
        for stage in stages:
            with timer.stage(stage):
                pass
        latency_s = timer.latency_s()
        tracker.record(latency_s, "text")
        metrics.searched(latency_s, "text")
        server_timing(latency_s)
        latency_ms(latency_s)

    number = 2000
    return 1e6 * median(timeit.repeat(request, number=number, repeat=7)) / number


def main(settings: Settings) -> None:
    """Measure tracking alone, and compare it with a text query over HTTP."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        store = stack.enter_context(filled_server(settings))
        port = stack.enter_context(serving(store, Path(name) / "log"))
        bodies = queries.texts()
        with closing(Client(port)) as client:
            _, answer = client.search(next(bodies))
        ask(port, bodies, 50)
        load = ask(port, bodies, settings.items(500, 30))
    stages = [stage for stage in answer["latency_ms"] if stage != "total"]
    cost = cost_us(stages)
    share = cost / load.percentile(50) / 10
    intro = (
        f"The {len(stages)} stages of a text query ({', '.join(stages)}) timed, counted in sliding "
        "windows and for Prometheus, and written into header and body: the same code, alone, many "
        "times; beside the median of a text query of one client."
    )
    rows = [
        ["tracking, µs", f"{cost:.0f}"],
        ["a text query, ms", f"{load.percentile(50):.1f}"],
        ["tracking, % of it", _COST.beside(share, ".2f")],
    ]
    report(settings, "Search API: cost of tracking", intro, table(("", "seen"), rows))

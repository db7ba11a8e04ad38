"""How much an ingest on the same machine slows queries down."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.api import queries
from benchmarks.api.load import ask, ask_while
from benchmarks.api.servers import serving
from benchmarks.api.stores import filled_server
from benchmarks.harness.reporting import Bar, Settings, note, report
from benchmarks.harness.results_pages import table
from benchmarks.pipeline.ingest import NAMES, make_corpus
from examples.samples import make_samples

_SLOWER = Bar(at_most=2)


def main(settings: Settings) -> None:
    """Send queries while nothing else runs, then while a thousand files are ingested."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        scratch = Path(name)
        media = scratch / "media"
        media.mkdir()
        make_samples(scratch / "samples")
        names = NAMES[: settings.items(len(NAMES), 40)]
        make_corpus(media, scratch / "samples", names)
        store = stack.enter_context(filled_server(settings, is_kept=False))
        port = stack.enter_context(serving(store, scratch / "log"))
        bodies = queries.texts()
        ask(port, bodies, 50)
        note("idle")
        idle = ask(port, bodies, settings.items(1000, 40))
        note("ingest")
        ingest = subprocess.Popen(
            ["chrt", "--idle", "0", Path(sys.executable).with_name("anymodal"), "ingest", media,
             "--store", store, "--json"],
            env={**os.environ, "ANYMODAL_ENCODER__N_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        busy = ask_while(port, bodies, lambda: ingest.poll() is None)
        facts = json.loads(ingest.communicate()[0])
    if facts["ingested"] + facts["unchanged"] != len(names):  # two files may have the same content
        raise RuntimeError(f"{facts['ingested']} of {len(names)} files were ingested: {facts}")
    errors = [*idle.errors, *busy.errors]
    rows = [
        (name, len(load.ms), *(f"{load.percentile(q):.1f}" for q in (50, 95, 99)))
        for name, load in (("idle", idle), ("ingest runs", busy))
    ]
    slower = busy.percentile(95) / idle.percentile(95)
    intro = (
        f"Text queries of one client while nothing else runs, and while {facts['ingested']} mixed "
        f"files are ingested into the same store in {facts['wall_s']:.0f} s, by one thread of each "
        f"network under `chrt --idle 0`. {len(errors)} errors."
    )
    headings = ("", "answers", "p50, ms", "p95, ms", "p99, ms")
    bar = table(
        ("bar", "seen"), [["p95 while ingest runs, times idle", _SLOWER.beside(slower, ".2f")]]
    )
    report(
        settings, "Search API: while ingest runs", intro, table(headings, rows), bar, *errors[:3]
    )

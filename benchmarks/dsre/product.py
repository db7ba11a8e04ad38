"""What the bundles' gates gain in the product: speed of the towers, and of whole ingests."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.bundle_quality.questions import articles, read
from benchmarks.harness.reporting import Bar, Settings, note, report
from benchmarks.harness.results_pages import table
from benchmarks.harness.timing import Times, on_one_core, take_turns
from benchmarks.pipeline.jobs import Stack
from encoder.loading import load_model
from encoder.models.bundle.declaration import read_bundle
from encoder.prepare.bundle.fetch import fetch
from encoder.types import TEXT

Ingested = Callable[[Path, str], tuple[Mapping[str, Any], float]]
"""Ingests a folder in one of the ways: the report, and seconds of the processor."""

DENSE, MERGED = "dense", "gate"
_BARS = {("multilingual", 512): Bar(at_least=1.68), ("multilingual", 256): Bar(at_least=1.4)}
_LENGTHS = {"multilingual": (128, 160, 192, 256, 384, 512), "english": (128, 192, 256)}
_TOWERS = """The text towers in int8, with their gates and without. One English text, cut to the
length; seconds of the processor, candidates taking turns; medians and the middle 80 % of the
rounds."""
_LANGUAGES = ("en", "de", "ar", "hi", "th", "zh")
_LESS = Bar(at_least=20.0)
_INGESTS = f"""Protocol, written before the first run: 6 of XQuAD's articles, each of five
paragraphs, in each of {", ".join(_LANGUAGES)} into an empty store, one thread for each network,
seconds of the processor. `anymodal ingest`: of all its processes, start, decoding, words and rows
in them. A Celery worker: of it, the store's server, Redis and the command that asks, after a
first job of one file. Both runs of a pair follow each other, the gate first in every second pair;
medians and the middle 80 %. Tokens are those of the report."""


def speed(settings: Settings) -> None:
    """How fast the text towers of both bundles are with their gates."""
    rows = [row for name, lengths in _LENGTHS.items() for row in _speed(settings, name, lengths)]
    headings = ("model", "tokens", "dense, ms", "gate, ms", "× faster", "kept")
    title = "Dynamic sparse inference: speed of the text towers"
    report(settings, title, _TOWERS, table(headings, rows))


def _speed(settings: Settings, name: str, lengths: tuple[int, ...]) -> Iterator[tuple[object, ...]]:
    fetch(read_bundle(name))
    towers = {
        way: load_model(
            f"bundle:{name}", quantization="int8", n_threads=1, enable_dsre=way == MERGED
        ).towers[TEXT]
        for way in (DENSE, MERGED)
    }
    text = towers[DENSE].prepare(" ".join(read("en").paragraphs[:5]))
    for length in lengths:
        note(f"{name} at {length} tokens")
        ids = np.append(text[: length - 1], text[-1])
        runs = {way: partial(tower.forward, [ids]) for way, tower in towers.items()}
        stats = towers[MERGED].forward([ids]).stats
        with on_one_core():
            n_rounds = settings.items(15, 2)
            times = take_turns(runs, n_rounds=n_rounds, n_warm_up=1, clock=time.process_time)
        ratio, bar = times.speedup(MERGED, DENSE), _BARS.get((name, length))
        judged = f"{ratio}; {bar.beside(ratio.median, '.2f')}" if bar else str(ratio)
        kept = f"{stats.n_kept / length:.0%}" if stats else ""
        ms = (f"{times.median_ms(way):.1f}" for way in (DENSE, MERGED))
        yield f"bundle:{name}", length, *ms, judged, kept


def ingest(settings: Settings) -> None:
    """What a gate saves of an ingest of long texts in six languages, by a command and a worker."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks dsre-ingest")
    parser.add_argument("--pairs", type=int, default=1)
    n_pairs = parser.parse_args(settings.words).pairs
    fetch(read_bundle("multilingual"))
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "texts"
        n_files = _write_texts(folder, settings.items(6, 2))
        _by_command(next(folder.iterdir()), MERGED)
        rows = [
            (who, n_files, *_in_pairs(ingested, folder, n_pairs))
            for who, ingested in (("anymodal ingest", _by_command), ("worker", _by_worker))
        ]
    headings = (
        "by", "files", "tokens", "kept", "CPU-s, dense", "CPU-s, gate", "× faster", "less CPU, %",
    )  # fmt: skip
    title = "Dynamic sparse inference: whole ingests"
    report(settings, title, _INGESTS, table(headings, rows))


def _in_pairs(ingested: Ingested, folder: Path, n_pairs: int) -> tuple[object, ...]:
    seconds: dict[str, list[float]] = {DENSE: [], MERGED: []}
    reports: dict[str, Mapping[str, Any]] = {}
    for number in range(n_pairs):
        note(f"pair {number + 1}")
        for way in (DENSE, MERGED)[:: -1 if number % 2 else 1]:
            reports[way], spent = ingested(folder, way)
            seconds[way].append(spent)
    times = Times(tuple(seconds), np.array(list(seconds.values())))
    less = 100 * (1 - 1 / times.speedup(MERGED, DENSE).median)
    tokens = reports[MERGED]["tokens"]
    return (
        tokens["encoded"], f"{tokens['kept'] / tokens['encoded']:.0%}",
        *(f"{times.median_ms(way) / 1000:.1f}" for way in seconds),
        str(times.speedup(MERGED, DENSE)), _LESS.beside(less, ".0f"),
    )  # fmt: skip


def _write_texts(folder: Path, n_each: int) -> int:
    folder.mkdir()
    for language in _LANGUAGES:
        for number, article in enumerate(articles(language)[:n_each]):
            text = "\n\n".join(block["context"] for block in article["paragraphs"])
            (folder / f"{language}-{number}.txt").write_text(text, "utf-8")
    return len(list(folder.iterdir()))


def _by_command(path: Path, way: str) -> tuple[Mapping[str, Any], float]:
    """The report of an ingest into an empty store, and its seconds of the processor."""
    began = getrusage(RUSAGE_CHILDREN)
    with TemporaryDirectory() as store:
        command = [str(Path(sys.executable).with_name("anymodal")), "ingest", str(path), "--json"]
        done = subprocess.run(
            [*command, "--store", f"{store}/store"],
            env=os.environ | _settings(way), capture_output=True, check=True,
        )  # fmt: skip
    ended = getrusage(RUSAGE_CHILDREN)
    spent = ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime
    return json.loads(done.stdout), spent


def _by_worker(path: Path, way: str) -> tuple[Mapping[str, Any], float]:
    """The same of a job, by a worker that runs already."""
    with TemporaryDirectory() as scratch, ExitStack() as stack:
        parts = Stack(Path(scratch), 1, stack, _settings(way))
        warm = Path(scratch) / "warm.txt"
        warm.write_text("A gull stands on the harbour wall and waits for the boats. " * 40, "utf-8")
        parts.ingest(warm)
        job = parts.ingest(path)
        return job, job["cpu_s"]


def _settings(way: str) -> dict[str, str]:
    return {
        "ANYMODAL_ENCODER__ENABLE_DSRE": str(way == MERGED).lower(),
        "ANYMODAL_ENCODER__N_THREADS": "1",
    }

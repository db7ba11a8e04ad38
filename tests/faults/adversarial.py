"""Search for the requests that cost a server most, then send the worst ten while others use it.

``python -m tests.faults.adversarial [--search-s 120] [--load-s 60] [--out FILE]`` starts a server
of its own, at a free port of the loopback device. Hypothesis varies requests towards more processor
time of the server. Then the ten costliest are sent again and again, half of their senders hang up
after a second, and another client asks ``/healthz`` and searches by text. It writes what it found
as JSON, and exits with 1 if, at the 99th percentile, ``/healthz`` takes 200 ms or a search five
times its median. ``machine`` is what a server that does nothing takes meanwhile: where that is
slow, something else occupies the machine.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import socket
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from time import monotonic, perf_counter, sleep
from typing import Any

import httpx
from hypothesis import HealthCheck, Phase, given, settings, target
from hypothesis import strategies as st

HEALTH_MS, TIMES_MEDIAN = 200.0, 5.0
_TICK_S = os.sysconf("SC_CLK_TCK")
_FORM = {"Content-Type": "multipart/form-data; boundary=b"}
_JSON = {"Content-Type": "application/json"}
_WORDS = ("storm", "Möwe", "(", '"', "*", "2024", "yesterday", "Paris", "a", "龍", "x" * 200)


@dataclass(frozen=True)
class Costly:
    """A request, and what it cost."""

    shape: str
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    cpu_s: float = 0.0
    stall_ms: float = 0.0
    status: int = 0


def _post(shape: str, path: str, sent: object) -> Costly:
    return Costly(shape, "POST", path, _JSON, json.dumps(sent).encode())


@st.composite
def texts(draw: st.DrawFn, most: int, longest: int) -> list[str]:
    """Texts of any number and length, all different."""
    n_texts, length = draw(st.integers(1, most)), draw(st.integers(1, longest))
    word = draw(st.sampled_from(_WORDS))
    salt = draw(st.integers(0, 10**6))
    return [f"{salt} {n} {word} " + f"{word} "[: len(word) + 1] * length for n in range(n_texts)]


@st.composite
def filters(draw: st.DrawFn) -> object:
    """Conditions, many, deep, or with long values."""
    values: Any = draw(
        st.sampled_from(["x", "x" * 10_000, 1, [*range(2000)], ["y" * 50] * 2000, {"a": 1}, None])
    )
    operator = draw(st.sampled_from(["eq", "in", "contains", "prefix", "gte", "within", "near"]))
    field = draw(
        st.sampled_from(["tags", "modality", "taken", "uri", "path", "metadata.a", "near"])
    )
    tree: object = {"field": field, operator: values}
    for _ in range(draw(st.integers(0, 300))):
        join = draw(st.sampled_from(["not", "and", "or"])) if _ < 3 else "not"
        tree = (
            {join: tree} if join == "not" else {join: [tree] * draw(st.sampled_from([1, 8, 200]))}
        )
        if len(json.dumps(tree)) > 4_000_000:
            break
    return tree


@st.composite
def searches(draw: st.DrawFn) -> Costly:
    asked: dict[str, object] = {"query": [{"text": one[:20_000]} for one in draw(texts(32, 4000))]}
    asked["limit"] = draw(st.sampled_from([1, 100, 1000]))
    for name, value in (
        ("filter", draw(st.none() | filters())),
        ("diversity", draw(st.sampled_from([0.0, 0.5]))),
        ("explain", draw(st.booleans())),
        ("moments", draw(st.sampled_from([0, 20]))),
        ("group_by", draw(st.sampled_from(["asset", "segment"]))),
        ("cursor", draw(st.sampled_from(["", "x" * 100_000]))),
    ):
        if value is not None:
            asked[name] = value
    return _post("search", "/v1/search", asked)


@st.composite
def embeddings(draw: st.DrawFn) -> Costly:
    path = draw(st.sampled_from(["/v1/embeddings", "/v2/embed"]))
    sent = draw(texts(2048, 8000))
    some = [text[:65_536] for text in sent][: max(1, 30_000_000 // len(sent[0]))]
    if path == "/v1/embeddings":
        return _post("embeddings", path, {"input": some})
    asked = {"texts": some, "input_type": "search_query", "embedding_types": ["float"]}
    return _post("embed", path, asked)


@st.composite
def forms(draw: st.DrawFn) -> Costly:
    path = draw(st.sampled_from(["/v1/search", "/v1/embeddings", "/v1/assets"]))
    n_parts, size = draw(st.integers(1, 20_000)), draw(st.sampled_from([0, 1, 100, 5000]))
    name = draw(st.sampled_from(["file", "f{n}", "text", "tags", "file#{n}"]))
    kind = draw(st.sampled_from(['; filename="a.txt"', ""]))
    head = f'--b\r\nContent-Disposition: form-data; name="{name}"{kind}\r\n\r\n{"x" * size}\r\n'
    n_parts = min(n_parts, 20_000_000 // len(head))
    body = "".join(head.replace("{n}", str(n)) for n in range(n_parts)) + "--b--\r\n"
    return Costly("form", "POST", path, _FORM, body.encode())


@st.composite
def values(draw: st.DrawFn) -> Costly:
    """JSON of many values, where few are expected."""
    n_values = draw(st.sampled_from([1000, 100_000, 4_000_000]))
    one = draw(st.sampled_from(["1,", '"a",', "[],", "{},", "[", '{"a":', "1e999,", '"\\ud800",']))
    text = one * (n_values // len(one))
    inner = text.rstrip(",") if one.endswith(",") else text
    shape = draw(
        st.sampled_from(['{{"query":[{}]}}', '{{"query":"a","filter":{{"and":[{}]}}}}', "[{}]"])
    )
    path = draw(st.sampled_from(["/v1/search", "/v1/embeddings", "/v2/embed", "/v1/rerank"]))
    return Costly("values", "POST", path, _JSON, shape.format(inner).encode())


@st.composite
def pictures(draw: st.DrawFn) -> Costly:
    from PIL import Image

    side, n_terms = draw(st.sampled_from([100, 1000, 7000])), draw(st.integers(1, 8))
    buffer = BytesIO()
    kind = draw(st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "TIFF"]))
    Image.new("RGB", (side, side), (side % 250, n_terms, 7)).save(buffer, kind)
    media = base64.b64encode(buffer.getvalue()).decode()
    return _post("pictures", "/v1/search", {"query": [{"image": media}] * n_terms})


@st.composite
def media(draw: st.DrawFn) -> Costly:
    """Base64 that is large, and wrong at its end."""
    text = "A" * draw(st.sampled_from([10**5, 10**7, 4 * 10**7]))
    end = draw(st.sampled_from(["", "=", "!", "\n"]))
    kind = draw(st.sampled_from(["image", "audio", "base64"]))
    return _post("media", "/v1/search", {"query": [{kind: text + end}]})


@st.composite
def listings(draw: st.DrawFn) -> Costly:
    path = draw(st.sampled_from(["/v1/assets", "/v1/facets", "/v1/assets/x/content", "/v1/jobs"]))
    text = json.dumps(draw(filters()))[:50_000]
    headers = draw(
        st.sampled_from([{}, {"Range": "bytes=" + "9" * 5000 + "-"}, {"X" * 50: "y" * 20_000}])
    )
    query = str(httpx.QueryParams({"filter": text, "limit": "1000"}))[: 60_000 - 25_000]
    return Costly("listing", "GET", f"{path}?{query}", dict(headers), b"")


ALL = st.one_of(searches(), embeddings(), forms(), values(), pictures(), media(), listings())


class Server:
    """`anymodal serve` in a process of its own, over a library of a few texts."""

    def __init__(self, process: subprocess.Popen[bytes], url: str) -> None:
        self.process, self.url = process, url

    def cpu_s(self) -> float:
        """Processor time of the server and of the decoders that ended."""
        facts = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(") ")[2].split()
        return sum(map(int, facts[11:15])) / _TICK_S

    def wait_until_idle(self, most_s: float = 120.0) -> None:
        """Until a tenth of a second costs nothing."""
        ends = monotonic() + most_s
        before = -1.0
        while monotonic() < ends and self.cpu_s() - before > 0.02:
            before = self.cpu_s()
            sleep(0.1)


@contextmanager
def started(folder: Path) -> Iterator[Server]:
    """A server, with a few texts in its store."""
    environment = {**os.environ, "ANYMODAL_DATA": str(folder / "data"), "ANYMODAL_STORE": "memory:"}
    command = [str(Path(sys.executable).with_name("anymodal")), "serve", "--port", "0"]
    log = folder / "log"
    with log.open("wb") as out, subprocess.Popen(command, env=environment, stderr=out) as process:
        try:
            while not (said := re.search(r"Listening at (http:[^\s\"]+)", log.read_text())):
                assert process.poll() is None, log.read_text()
                sleep(0.1)
            server = Server(process, said[1])
            with httpx.Client(base_url=server.url, timeout=300) as client:
                files = [("file", (f"{n}.txt", f"Note {n} of ships and tides.")) for n in range(50)]
                client.post("/v1/assets", files=files, params={"wait": True}).raise_for_status()
            yield server
        finally:
            process.kill()


def measured(server: Server, one: Costly) -> Costly:
    """A request with the processor time it took, and the longest that `/healthz` took meanwhile."""
    before_s = server.cpu_s()
    with Probe(server.url, _healthz) as health:
        status = 0
        with suppress(httpx.HTTPError), httpx.Client(base_url=server.url, timeout=90) as client:
            answer = client.request(one.method, one.path, headers=one.headers, content=one.body)
            status = answer.status_code
    server.wait_until_idle()
    stall_ms = max(health.taken_ms, default=0.0)
    parts = (one.shape, one.method, one.path, one.headers, one.body)
    return Costly(*parts, server.cpu_s() - before_s, stall_ms, status)


def worst(server: Server, search_s: float, n_kept: int = 10) -> list[Costly]:
    """The costliest requests that can be found in this time, by processor time and by stall."""
    seen: list[Costly] = []
    ends = monotonic() + search_s

    @settings(
        max_examples=100_000,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.target],
        suppress_health_check=list(HealthCheck),
    )
    @given(ALL)
    def seek(one: Costly) -> None:
        if monotonic() > ends:
            raise KeyboardInterrupt
        seen.append(measured(server, one))
        target(seen[-1].cpu_s, label="processor time, s")
        target(seen[-1].stall_ms, label="longest answer of /healthz, ms")

    with suppress(KeyboardInterrupt):
        seek()
    by_cost = sorted(seen, key=lambda one: -one.cpu_s)[: n_kept // 2]
    by_stall = sorted(seen, key=lambda one: -one.stall_ms)
    return [*by_cost, *(one for one in by_stall if one not in by_cost)][:n_kept]


class Probe:
    """Asks again and again, in a thread, and notes how long each answer takes."""

    def __init__(self, url: str, ask: Callable[[httpx.Client, int], None]) -> None:
        self.taken_ms: list[float] = []
        self._done = Event()
        self._thread = Thread(target=self._run, args=(url, ask))

    def _run(self, url: str, ask: Callable[[httpx.Client, int], None]) -> None:
        with httpx.Client(base_url=url, timeout=120) as client:
            while not self._done.is_set():
                began = perf_counter()
                ask(client, len(self.taken_ms))
                self.taken_ms.append((perf_counter() - began) * 1000)
                self._done.wait(0.02)

    def __enter__(self) -> Probe:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


def _healthz(client: httpx.Client, _n: int) -> None:
    client.get("/healthz").raise_for_status()


def _search(client: httpx.Client, n: int) -> None:
    asked = {"query": f"ship {n} at the quay", "limit": 5}
    while client.post("/v1/search", json=asked).status_code == 503:  # as busy servers say
        sleep(0.1)


def _send(url: str, one: Costly, done: Event, hangs_up: bool) -> None:
    host, port = url.removeprefix("http://").split(":")
    head = [f"{one.method} {one.path} HTTP/1.1", f"Host: {host}", "Connection: close"]
    head += [f"{name}: {value}" for name, value in one.headers.items()]
    head += [f"Content-Length: {len(one.body)}"]
    said = "\r\n".join([*head, "", ""]).encode() + one.body
    while not done.is_set():
        with (
            suppress(OSError),
            socket.create_connection((host, int(port)), timeout=60) as connection,
        ):
            connection.sendall(said)
            connection.settimeout(1.0 if hangs_up else 60.0)
            while connection.recv(65_536):
                pass
        done.wait(0.05)


def under_load(server: Server, sent: Sequence[Costly], load_s: float) -> dict[str, float]:
    """How long others wait, in ms, while these are sent again and again."""
    done = Event()
    senders = [
        Thread(target=_send, args=(server.url, one, done, n % 2 == 0)) for n, one in enumerate(sent)
    ]
    for sender in senders:
        sender.start()
    with (
        doing_nothing() as idle_url,
        Probe(idle_url, _healthz) as machine,
        Probe(server.url, _healthz) as health,
        Probe(server.url, _search) as search,
    ):
        sleep(load_s)
    done.set()
    for sender in senders:
        sender.join()
    return {
        **_percentiles("healthz", health.taken_ms),
        **_percentiles("search", search.taken_ms),
        **_percentiles("machine", machine.taken_ms),
    }


@contextmanager
def doing_nothing() -> Iterator[str]:
    """The URL of a server that only answers, in a process of its own."""
    code = (
        "from http.server import *\n"
        "class Answers(BaseHTTPRequestHandler):\n"
        "    protocol_version = 'HTTP/1.1'\n"
        "    def do_GET(self):\n"
        "        self.send_response(204); self.end_headers()\n"
        "    def log_message(self, *_): pass\n"
        "server = ThreadingHTTPServer(('127.0.0.1', 0), Answers)\n"
        "print(server.server_port, flush=True); server.serve_forever()\n"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


def _percentiles(name: str, taken_ms: list[float]) -> dict[str, float]:
    ordered = sorted(taken_ms)
    p99 = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
    median = statistics.median(ordered)
    told = {"median_ms": median, "p99_ms": p99, "most_ms": ordered[-1], "n": len(ordered)}
    return {f"{name}_{key}": round(value, 1) for key, value in told.items()}


def main() -> int:
    """Search, load, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--search-s", type=float, default=120.0)
    parser.add_argument("--load-s", type=float, default=60.0)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    with TemporaryDirectory() as folder, started(Path(folder)) as server:
        idle = under_load(server, [], min(10.0, asked.load_s))
        found = worst(server, asked.search_s)
        loaded = under_load(server, found, asked.load_s)
    report = {
        "worst": [_told(one) for one in found],
        "alone": idle,
        "under_load": loaded,
    }
    text = json.dumps(report, indent=1)
    sys.stdout.write(text + "\n")
    if asked.out:
        asked.out.write_text(text)
    slow = loaded["healthz_p99_ms"] >= HEALTH_MS
    return int(slow or loaded["search_p99_ms"] >= TIMES_MEDIAN * loaded["search_median_ms"])


def _told(one: Costly) -> dict[str, object]:
    return {
        "request": f"{one.shape}: {one.method} {one.path[:60]}, {len(one.body):,} bytes",
        "begins": one.body[:160].decode(errors="replace"),
        "status": one.status,
        "cpu_s": round(one.cpu_s, 2),
        "healthz_most_ms": round(one.stall_ms, 1),
    }


if __name__ == "__main__":
    sys.exit(main())

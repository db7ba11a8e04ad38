"""What others wait for while a server is attacked in nineteen ways, and by 200 slow connections.

``python -m benchmarks attacks [--seconds S] [--files N]``: with N, server and clients may have so
many files open.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import random
import re
import resource
import shutil
import socket
import struct
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from itertools import count, cycle
from pathlib import Path

import numpy as np

from benchmarks.api import queries
from benchmarks.api.clients import Client
from benchmarks.api.latency import N_SEGMENTS, serving
from benchmarks.api.stores import filled
from benchmarks.harness.processes import tree_open_files, tree_pss_bytes
from benchmarks.harness.reporting import Bar, Settings, note, report
from benchmarks.harness.results_pages import table

_N_SLOW, _PATIENCE_S, _PAUSE_S = 200, 60.0, 0.2
_REST_S = 60.0
"""After the attacks; connections end within 20 s, and uploads are ingested."""
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
_BARS = {"/healthz": Bar(at_most=150), "a text query": Bar(at_most=400)}
_ABOUT = """\
{n:,} segments; {seconds} s. {ways} kinds of attack, a client each, and {slow} connections that send
nothing, half a head or a body byte by byte, or read nothing of their answers; meanwhile
`/healthz` is asked for over a new connection each time, and texts, no two alike, over one that
stays. Attackers, clients and server share the cores. Load of the machine at the end {load}."""


def head(path: str, method: str = "POST", *lines: str) -> bytes:
    """The head of a request."""
    said = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *lines]
    return "\r\n".join([*said, "", ""]).encode()


def posted(body: bytes, path: str = "/v1/search", kind: str = "application/json") -> bytes:
    """A whole request, after which the connection ends."""
    lines = f"Content-Type: {kind}", f"Content-Length: {len(body)}", "Connection: close"
    return head(path, "POST", *lines) + body


def form(n_parts: int, path: str, name: str, field: str) -> bytes:
    """A form of this many parts."""
    begin = f'--b\r\nContent-Disposition: form-data; name="{field}"{name}\r\n\r\n'
    parts = (f"{begin.format(n)}part {n}\r\n" for n in range(n_parts))
    return posted("".join([*parts, "--b--\r\n"]).encode(), path, "multipart/form-data; boundary=b")


def searched(query: object, **options: object) -> bytes:
    """A search."""
    return posted(json.dumps({"query": query, **options}).encode())


def bomb(side: int = 30_000) -> str:
    """A PNG of 110 KB that takes 112 MB, in base 64."""

    def chunk(name: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + checksum

    rows = zlib.compress(bytes(side * (side // 8 + 1)), 1)
    size = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    chunks = chunk(b"IHDR", size) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + chunks).decode()


def deep(depth: int) -> dict[str, object]:
    """A filter within filters."""
    condition: dict[str, object] = {"field": "tags", "contains": "work"}
    for _ in range(depth):
        condition = {"not": condition}
    return condition


def attacks() -> dict[str, Callable[[], bytes]]:
    """What is sent, by the name of the attack. Most is made once: clients are not timed."""
    chunked = head("/v1/search", "POST", "Transfer-Encoding: chunked")
    one_of = {"field": "tags", "in": [f"tag {n}" for n in range(100_000)]}
    ranges = "Range: bytes=" + ",".join(f"{n}-{n}" for n in range(2000))
    odd = [
        "/v1/assets/..%2f..%2fetc%2fpasswd",
        "/%00",
        "/../../etc/passwd",
        "/v1/assets/" + 9000 * "a",
    ]
    whole = {
        "no HTTP": random.Random(0).randbytes(4096),
        "a head without an end": head("/", "GET")[:-2] + b"X-A: " + 200_000 * b"a",
        "ten thousand headers": head("/", "GET", *(f"X-{n}: {n}" for n in range(10_000))),
        "two lengths": head("/v1/search", "POST", "Content-Length: 4",
                            "Transfer-Encoding: chunked") + b"0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        "broken chunks": chunked + b"zz\r\n{}\r\n",
        "chunks without an end": chunked + 4000 * (b"4000\r\n" + bytes(0x4000) + b"\r\n"),
        "a length of a petabyte": head("/v1/assets", "POST", f"Content-Length: {10**15}"),
        "a form of 16,000 parts": form(16_000, "/v1/search/files", "", "text"),
        "an upload of 900 files": form(900, "/v1/assets", '; filename="{}.txt"', "file"),
        "JSON 100,000 deep": posted(100_000 * b"[" + 100_000 * b"]"),
        "JSON of a million values": posted(b'{"query": [' + 10**6 * b"1," + b"1]}"),
        "a text of 200 KB": searched("a red boat in the harbour " * 8000),
        "a filter 500 deep": searched("a boat", filter=deep(500)),
        "a filter of 100,000 values": searched("a boat", filter=one_of),
        "a picture that takes 112 MB": searched([{"image": bomb()}]),
        "odd paths": b"".join(head(path, "GET") for path in odd),
        "2,000 ranges": head("/app.js", "GET", ranges, "Connection: close"),
        "500 requests in one": 500 * head("/v1/assets?limit=100", "GET"),
    }  # fmt: skip
    ways = {name: partial(bytes, said) for name, said in whole.items()}
    numbers = count()
    return {**ways, "gone before the answer": lambda: searched(f"a boat {next(numbers)}")}


def connected(port: int) -> socket.socket:
    """A connection that waits for `_PATIENCE_S`, and buffers little of what it does not read."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(_PATIENCE_S)
    connection.connect(("127.0.0.1", port))
    return connection


def attack(port: int, name: str, said: bytes) -> list[int]:
    """Send it; the statuses of the answers."""
    content = bytearray()
    with suppress(OSError), connected(port) as connection:
        with suppress(OSError):
            connection.sendall(said)
        if name.startswith("gone"):
            linger = struct.pack("ii", 1, 0)  # the other side gets a reset
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            return []
        while piece := connection.recv(65536):
            content += piece
    return [int(status) for status in _STATUS.findall(content)]


def attacked(port: int, seconds: float) -> dict[str, Counter[int]]:
    """Attack in all ways at once; the statuses of each. For a process of its own."""
    until_s, ways = time.monotonic() + seconds, attacks()
    seen: dict[str, Counter[int]] = {name: Counter() for name in ways}

    def repeat(name: str) -> None:
        while time.monotonic() < until_s:
            seen[name].update(attack(port, name, ways[name]()))
            time.sleep(_PAUSE_S)

    with ThreadPoolExecutor(len(ways) + 1) as threads:
        slow = threads.submit(crawl, port, until_s)
        list(threads.map(repeat, ways))
        slow.result()
    return seen


def crawl(port: int, until_s: float) -> None:
    """Hold 200 slow connections; those that are cut begin again."""
    body = head("/v1/search", "POST", "Content-Length: 100000", "Content-Type: application/json")
    greedy = head("/v1/assets?limit=1000", "GET")  # more than the buffers of a connection take
    kinds = cycle([(b"", b""), (head("/", "GET")[:-4], b""), (body, b" "), (greedy, b"")])
    with ExitStack() as stack:
        held = list[tuple[socket.socket, bytes]]()
        while time.monotonic() < until_s:
            while len(held) < _N_SLOW:
                with suppress(OSError):
                    first, more = next(kinds)
                    connection = stack.enter_context(connected(port))
                    connection.sendall(first)
                    connection.setblocking(False)
                    held.append((connection, more))
            time.sleep(0.5)
            held = [(connection, more) for connection, more in held if is_open(connection, more)]


def is_open(connection: socket.socket, more: bytes) -> bool:
    """Whether the other side has not cut it, after some more bytes."""
    try:
        if more:
            connection.send(more)
            return bool(connection.recv(1024))
        # what was answered to the others is left unread
        return bool(connection.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return True
    except OSError:
        connection.close()
        return False


def waits(port: int, until_s: float) -> dict[str, tuple[list[float], list[str]]]:
    """The milliseconds of those who behave, by what they ask for, and what went wrong."""
    bodies = queries.texts(int(until_s))
    acts: Mapping[str, tuple[float, Callable[[Client], float]]] = {
        "/healthz": (0.05, lambda client: timed(client, "/healthz")),
        "a text query": (0.2, lambda client: client.post("/v1/search", next(bodies))[0]),
    }

    def ask(name: str) -> tuple[list[float], list[str]]:
        times, errors = list[float](), list[str]()
        pause_s, act = acts[name]
        client = Client(port)
        while time.monotonic() < until_s:
            try:
                times.append(act(client))
            except (RuntimeError, OSError) as error:
                errors.append(str(error))
                client = Client(port)
            if name == "/healthz":
                client.close()
            time.sleep(pause_s)
        return times, errors

    with ThreadPoolExecutor(len(acts)) as threads:
        return dict(zip(acts, threads.map(ask, acts), strict=True))


def timed(client: Client, path: str) -> float:
    """The milliseconds of a GET."""
    began = time.perf_counter()
    client.get(path)
    return 1e3 * (time.perf_counter() - began)


def main(settings: Settings) -> None:
    """Attack a server twice: the first time warms up, since memory is compared."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {settings.part}")
    parser.add_argument("--seconds", type=int, default=settings.items(120, 20))
    parser.add_argument("--segments", type=int, default=settings.items(N_SEGMENTS, 2000))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--files", type=int, help="the most open files of a process")
    given = parser.parse_args(settings.words)
    if given.files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (given.files, given.files))
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        store = Path(name) / "store"
        stack.callback(note, "the server has ended")
        shutil.copytree(filled(settings, given.segments), store)
        os.environ["ANYMODAL_DATA"] = name
        log = Path(name) / "log"
        port, pid = stack.enter_context(serving(str(store), log, n_processes=os.cpu_count() or 1))
        clients = stack.enter_context(ProcessPoolExecutor(1))
        sizes, seen = list[tuple[int, int]](), dict[str, Counter[int]]()
        for number in range(given.rounds):
            note(f"round {number + 1}: {sizes}")
            attackers = clients.submit(attacked, port, given.seconds)
            times = waits(port, time.monotonic() + given.seconds)
            seen = attackers.result()
            time.sleep(_REST_S)
            sizes.append((tree_pss_bytes(pid), tree_open_files(pid)))
        said = log.read_text(errors="replace")
    rows = list(bars(times, seen, sizes))
    about = _ABOUT.format(
        n=given.segments, seconds=given.seconds, ways=len(seen), slow=_N_SLOW,
        load=f"{os.getloadavg()[0]:.1f}, {os.cpu_count()} cores",
    )  # fmt: skip
    answers = [(name, ", ".join(f"{n} × {status}" for status, n in sorted(of.items())))
               for name, of in seen.items()]  # fmt: skip
    report(
        settings, "Search API: under attack", about, table(("bar", "seen"), rows),
        table(("attack", "answers"), answers), f"{said.count('Traceback')} tracebacks in the log.",
    )  # fmt: skip
    sys.stderr.write(said[-4000:])


def bars(
    times: Mapping[str, tuple[list[float], list[str]]],
    seen: Mapping[str, Counter[int]],
    sizes: list[tuple[int, int]],
) -> Iterator[tuple[str, str]]:
    """The rows of the table."""
    for name, (ms, errors) in times.items():
        middle, last = np.percentile(ms, [50, 99])
        yield (
            f"{name}: p99, ms",
            f"{_BARS[name].beside(last, '.0f')}; p50 {middle:.0f}, n {len(ms)}",
        )
        refused = Counter(error[:3] for error in errors)
        yield f"{name}: refused", ", ".join(f"{n} × {e}" for e, n in refused.items()) or "0"
    n_faults = sum(n for of in seen.values() for s, n in of.items() if s >= 500 and s != 503)
    yield "answers of 5xx but 503", Bar(at_most=0).beside(n_faults, "d")
    (bytes_before, files_before), (bytes_after, files_after) = sizes[-2:]
    grown = bytes_after / bytes_before
    shown = f"{bytes_before / 1e6:.0f} and {bytes_after / 1e6:.0f} MB"
    yield (
        "memory after the last attack, of that after the one before",
        (f"{Bar(at_most=1.1).beside(grown, '.2f')}; {shown}"),
    )
    yield (
        "descriptors after it, more than before",
        (f"{Bar(at_most=0).beside(max(0, files_after - files_before), 'd')}; {files_after}"),
    )

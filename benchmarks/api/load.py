"""HTTP clients, each on its own connection, that send the next query after the answer."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from operator import itemgetter
from threading import Lock
from time import perf_counter
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Load:
    """What clients saw: the milliseconds of each answer, what went wrong, and the whole time."""

    ms: Sequence[float]
    errors: Sequence[str]
    wall_s: float

    @property
    def per_s(self) -> float:
        """Answers per second."""
        return len(self.ms) / self.wall_s

    def percentile(self, q: float) -> float:
        """The percentile ``q`` of the milliseconds."""
        return float(np.percentile(self.ms, q))


@dataclass(frozen=True)
class Style:
    """How a server is queried by text.

    Args:
        method: ``GET`` sends the body in the query string.
        path: of the URL.
        hits: takes the hits from an answer.
    """

    method: str = "POST"
    path: str = "/v1/search"
    hits: Callable[[Any], Any] = itemgetter("hits")


_OURS = Style()


class Client:
    """A client that keeps one connection open."""

    def __init__(self, port: int, style: Style = _OURS) -> None:
        self._style = style
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def search(self, body: bytes) -> tuple[float, dict[str, Any]]:
        """Milliseconds until the whole answer had arrived, and the answer.

        Raises:
            RuntimeError: the answer is an error, or found nothing.
        """
        started = perf_counter()
        headers = {"Content-Type": "application/json"}
        if self._style.method == "GET":
            self._connection.request("GET", f"{self._style.path}?{body.decode()}")
        else:
            self._connection.request("POST", self._style.path, body, headers)
        response = self._connection.getresponse()
        content = response.read()
        ms = 1000 * (perf_counter() - started)
        if response.status != 200:
            raise RuntimeError(f"{response.status}: {content[:300]!r}")
        answer: dict[str, Any] = json.loads(content)
        if not self._style.hits(answer):
            raise RuntimeError("no hits")
        return ms, answer


def ask(
    port: int | Sequence[int],
    bodies: Iterator[bytes],
    n_requests: int,
    n_clients: int = 1,
    style: Style = _OURS,
) -> Load:
    """Send ``n_requests`` queries from ``n_clients`` clients at once, which share the ports."""
    lock = Lock()
    left = islice(bodies, n_requests)
    ports = [port] if isinstance(port, int) else port

    def following() -> bytes | None:
        with lock:
            return next(left, None)

    return _run([
        partial(_ask, ports[number % len(ports)], following, style) for number in range(n_clients)
    ])  # fmt: skip


def _run(clients: Sequence[Callable[[], tuple[list[float], list[str]]]]) -> Load:
    started = perf_counter()
    with ThreadPoolExecutor(len(clients)) as pool:
        found = [future.result() for future in [pool.submit(client) for client in clients]]
    wall_s = perf_counter() - started
    return Load(
        [ms for one, _ in found for ms in one], [e for _, some in found for e in some], wall_s
    )


def _ask(
    port: int, following: Callable[[], bytes | None], style: Style = _OURS
) -> tuple[list[float], list[str]]:
    client, times, errors = Client(port, style), [], []
    while (body := following()) is not None:
        try:
            times.append(client.search(body)[0])
        except (RuntimeError, OSError, http.client.HTTPException) as error:
            errors.append(str(error))
            client.close()
            client = Client(port, style)
    client.close()
    return times, errors

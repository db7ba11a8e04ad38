"""HTTP clients, each on its own connection, that send the next query after the answer."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from threading import Lock
from time import perf_counter
from types import MappingProxyType
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
    """How a server is queried: the path of the URL, and what takes the hits from an answer."""

    path: str = "/v1/search"
    hits: Callable[[Any], Any] = itemgetter("hits")


OURS = Style()


class Client:
    """A client that keeps one connection open."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def post(
        self, path: str, body: bytes, content_type: str = "application/json"
    ) -> tuple[float, Any]:
        """Milliseconds until the whole answer had arrived, and the answer.

        Raises:
            RuntimeError: the answer is an error.
        """
        return self._request("POST", path, body, {"Content-Type": content_type})

    def get(self, path: str) -> Any:
        """The answer to a GET; a RuntimeError if that is an error."""
        return self._request("GET", path)[1]

    def _request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> tuple[float, Any]:
        started = perf_counter()
        self._connection.request(method, path, body, dict(headers))
        response = self._connection.getresponse()
        content = response.read()
        ms = 1000 * (perf_counter() - started)
        if response.status >= 300:
            raise RuntimeError(f"{response.status}: {content[:300]!r}")
        return ms, json.loads(content)


def ask(
    port: int, bodies: Iterator[bytes], n_requests: int, n_clients: int = 1, style: Style = OURS
) -> Load:
    """Send ``n_requests`` queries from ``n_clients`` clients at once; no hits count as an error."""
    lock, left = Lock(), islice(bodies, n_requests)

    def following() -> bytes | None:
        with lock:
            return next(left, None)

    def run(_: int) -> tuple[list[float], list[str]]:
        client, times, errors = Client(port), list[float](), list[str]()
        while (body := following()) is not None:
            try:
                ms, answer = client.post(style.path, body)
                if not style.hits(answer):
                    raise RuntimeError("no hits")
                times.append(ms)
            except (RuntimeError, OSError, http.client.HTTPException) as error:
                errors.append(str(error))
                client.close()
                client = Client(port)
        client.close()
        return times, errors

    started = perf_counter()
    with ThreadPoolExecutor(n_clients) as pool:
        seen = list(pool.map(run, range(n_clients)))
    wall_s = perf_counter() - started
    return Load(
        [ms for times, _ in seen for ms in times], [e for _, some in seen for e in some], wall_s
    )

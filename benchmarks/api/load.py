"""Clients that ask over HTTP, each on a connection of its own, the next query after the answer."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
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
        """Answers a second."""
        return len(self.ms) / self.wall_s

    def percentile(self, q: float) -> float:
        """Of the milliseconds."""
        return float(np.percentile(self.ms, q))


class Client:
    """One connection that is kept."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def search(self, body: bytes) -> tuple[float, dict[str, Any]]:
        """Milliseconds until the whole answer was there, and the answer.

        Raises:
            RuntimeError: the answer is an error, or found nothing.
        """
        started = perf_counter()
        headers = {"Content-Type": "application/json"}
        self._connection.request("POST", "/v1/search", body, headers)
        response = self._connection.getresponse()
        content = response.read()
        ms = 1000 * (perf_counter() - started)
        if response.status != 200:
            raise RuntimeError(f"{response.status}: {content[:300]!r}")
        answer: dict[str, Any] = json.loads(content)
        if not answer["hits"]:
            raise RuntimeError("no hits")
        return ms, answer


def ask(port: int, bodies: Iterator[bytes], n_requests: int, n_clients: int = 1) -> Load:
    """Ask so many queries by so many clients at once."""
    lock = Lock()
    left = islice(bodies, n_requests)

    def following() -> bytes | None:
        with lock:
            return next(left, None)

    return _run([lambda: _ask(port, following)] * n_clients)


def ask_while(port: int, bodies: Iterator[bytes], goes_on: Callable[[], bool]) -> Load:
    """Ask by one client for as long as something goes on."""
    return _run([lambda: _ask(port, lambda: next(bodies) if goes_on() else None)])


def _run(clients: Sequence[Callable[[], tuple[list[float], list[str]]]]) -> Load:
    started = perf_counter()
    with ThreadPoolExecutor(len(clients)) as pool:
        found = [future.result() for future in [pool.submit(client) for client in clients]]
    wall_s = perf_counter() - started
    return Load(
        [ms for one, _ in found for ms in one], [e for _, some in found for e in some], wall_s
    )


def _ask(port: int, following: Callable[[], bytes | None]) -> tuple[list[float], list[str]]:
    client, times, errors = Client(port), [], []
    while (body := following()) is not None:
        try:
            times.append(client.search(body)[0])
        except (RuntimeError, OSError, http.client.HTTPException) as error:
            errors.append(str(error))
            client.close()
            client = Client(port)
    client.close()
    return times, errors

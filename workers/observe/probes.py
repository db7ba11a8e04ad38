"""Whether a worker lives and can work: ``/healthz`` and ``/readyz`` beside its metrics.

A worker that waits for its broker or store is alive: a new one would wait as well. One whose main
process no longer turns its timers is stuck, and takes no further task.
"""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from encoder.errors import AnymodalError
from encoder.system.disk import check_room
from search.store.open import store_target

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication

Check = Callable[[], object]
"""Raises an `AnymodalError` or an OSError if its part does not answer."""

SILENT_S = 120.0
"""Longer than Celery waits before it looks for a broker that is back, and for a new child."""
_ANSWER_S = 3.0
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""How a client of HTTP/2, and so of gRPC, begins: with its settings, here none."""


class Probes:
    """Answers two paths, and leaves others to the application of the metrics.

    Args:
        broker: checks it.
        store: checks it.
        silent_s: how long the main process may do nothing but its work.
    """

    def __init__(self, broker: Check, store: Check, silent_s: float) -> None:
        self._checks: Mapping[str, Check] = {"broker": broker, "store": store}
        self._silent_s = silent_s
        self._alive_s = time.monotonic()

    def beat(self) -> None:
        """Note that the main process turns its timers."""
        self._alive_s = time.monotonic()

    def before(self, metrics: WSGIApplication) -> WSGIApplication:
        """Answer the probes by this, all else by another application."""

        def answer(request: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
            probe = {"/healthz": self._health, "/readyz": self._readiness}.get(request["PATH_INFO"])
            if probe is None:
                return metrics(request, start)
            is_well, body = probe()
            status = "200 OK" if is_well else "503 Service Unavailable"
            start(status, [("Content-Type", "application/json")])
            return [json.dumps(body).encode()]

        return answer

    def _health(self) -> tuple[bool, dict[str, Any]]:
        silent_s = time.monotonic() - self._alive_s
        if silent_s > self._silent_s and problem(self._checks["broker"]):
            self.beat()  # it waits for the broker, and has time to find it when that is back
        is_stuck = time.monotonic() - self._alive_s > self._silent_s
        return not is_stuck, {"status": "stuck" if is_stuck else "ok", "silent_s": round(silent_s)}

    def _readiness(self) -> tuple[bool, dict[str, Any]]:
        problems = {name: problem(check) for name, check in self._checks.items()}
        is_alive, health = self._health()
        checks = {
            name: {"ok": False, "error": text} if text else {"ok": True}
            for name, text in problems.items()
        }
        is_ready = is_alive and not any(problems.values())
        status = "ready" if is_ready else "unavailable" if is_alive else health["status"]
        return is_ready, {"status": status, "checks": checks}


def problem(check: Check) -> str:
    """What a check says is wrong; empty if nothing is."""
    try:
        check()
    except (AnymodalError, OSError) as error:
        return str(error) or type(error).__name__
    return ""


def check_store(uri: str | None) -> None:
    """Return if a server answers, or a folder can be written to.

    Without pymilvus, since gRPC must not run in a process that forks.

    Raises:
        OSError: the server does not answer as one of gRPC.
        DiskError: the folder is full or read-only.
    """
    target = store_target(uri)
    if not isinstance(target, str) or "://" not in target:
        check_room(Path(target))
        return
    url = urlsplit(target)
    with socket.create_connection((url.hostname or "", url.port or 19530), _ANSWER_S) as plain:
        context = ssl.create_default_context()
        context.set_alpn_protocols(["h2"])
        is_open = url.scheme != "https"
        server = plain if is_open else context.wrap_socket(plain, server_hostname=url.hostname)
        server.sendall(_HELLO)
        if not server.recv(1):
            raise ConnectionError(f"{url.hostname} closed the connection")

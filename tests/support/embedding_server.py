"""A small server of OpenAI's ``/v1/embeddings`` that can lie, refuse and be slow."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import numpy as np

Lie = Callable[[dict[str, Any]], tuple[int, dict[str, str], bytes]]
"""From the right answer to a status, headers and a body."""


@dataclass
class EmbeddingServer:
    """What it does is changed while it runs.

    ``seed`` is the model: texts that share words are near each other, in a space of its own.
    """

    url: str = ""
    seed: int = 0
    size: int = 32
    norm: float = 3.0
    key: str = ""
    refused: str = ""
    """A word; texts with it are refused."""
    lies: deque[Lie] = field(default_factory=deque)
    """For the next requests, one each."""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    """Of the requests that came."""

    @property
    def spec(self) -> str:
        return f"remote:words@{self.url}"

    def row(self, text: str) -> list[float]:
        words = re.findall(r"\w+", text.lower()) or [text]
        total = sum((self._word(word) for word in words), np.zeros(self.size))
        return list(self.norm * total / np.linalg.norm(total))

    def _word(self, word: str) -> np.ndarray:
        digest = blake2b(f"{self.seed} {word}".encode(), digest_size=8).digest()
        return np.random.default_rng(int.from_bytes(digest, "big")).normal(size=self.size)


def refuse(status: int, message: Any = "no", **headers: str) -> Lie:
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    return lambda _: (status, {name.replace("_", "-"): v for name, v in headers.items()}, body)


def instead(change: Callable[[dict[str, Any]], Any]) -> Lie:
    """A right answer, changed."""

    def lie(answer: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        return 200, {}, json.dumps(change(answer) or answer).encode()

    return lie


@contextmanager
def embedding_server() -> Iterator[EmbeddingServer]:
    server = EmbeddingServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self._send(404, {}, b"404 page not found")

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.bodies.append(body)
            if server.key and self.headers.get("Authorization") != f"Bearer {server.key}":
                self._send(401, {}, b'{"error": {"message": "Incorrect API key."}}')
                return
            if server.refused and any(server.refused in text for text in body["input"]):
                self._send(413, {}, b'{"error": "too much"}')
                return
            rows = [server.row(text) for text in body["input"]]
            data = [{"index": n, "embedding": row} for n, row in enumerate(rows)]
            lie = server.lies.popleft() if server.lies else instead(lambda _: None)
            self._send(*lie({"object": "list", "data": data, "model": body["model"]}))

        def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        thread = Thread(
            target=http.serve_forever, name="embeddings", kwargs={"poll_interval": 0.01}
        )
        thread.start()
        server.url = f"http://127.0.0.1:{http.server_address[1]}/v1"
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()

"""HTTP servers on the loopback device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any


class Files(SimpleHTTPRequestHandler):
    """Serves a folder quietly."""

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def answering(
    handler: type[BaseHTTPRequestHandler] | partial[Any],
) -> Iterator[ThreadingHTTPServer]:
    """A server at a free port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def files_at(folder: Path) -> Iterator[str]:
    """The address of a server of the files in a folder."""
    with answering(partial(Files, directory=str(folder))) as server:
        yield f"http://127.0.0.1:{server.server_port}"

"""The metrics of a worker's processes over HTTP."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from encoder.errors import InputError

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

    from workers.config import Settings

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Names the folder through which a main process and its children share figures."""

_server: WSGIServer | None = None
_main_pid = os.getpid()  # this is imported before the pool forks


@contextmanager
def serving(settings: Settings) -> Iterator[None]:
    """Answer Prometheus on ``metrics_host:metrics_port`` from a thread until the block ends.

    Belongs around all that may import `workers.metrics`. The folder is a new one each time: what
    an earlier worker counted is not this one's.

    Raises:
        InputError: the address cannot be taken.
    """
    global _server
    if settings.metrics_port is None:
        yield
        return
    with TemporaryDirectory(prefix="anymodal-metrics-") as folder:
        os.environ[FOLDER] = folder
        _server = _start(settings.metrics_host, settings.metrics_port, folder, settings)
        try:
            yield
        finally:
            _server.shutdown()
            _server.server_close()


def leave_to_main() -> None:
    """Close a forked child's copy of the listening socket, or it would outlive its parent."""
    if _server is not None and os.getpid() != _main_pid:
        _server.socket.close()


def _start(host: str, port: int, folder: str, settings: Settings) -> WSGIServer:
    from prometheus_client import CollectorRegistry, start_http_server
    from prometheus_client.multiprocess import MultiProcessCollector

    from workers.broker_metrics import BrokerCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry, folder)
    registry.register(BrokerCollector(settings.broker, settings.queue_shards))
    try:
        server, _ = start_http_server(port, host, registry)
    except OSError as error:
        raise InputError(
            "--metrics-port", got=f"{host}:{port}, which cannot be taken: {error}", wanted="another"
        ) from error
    return server

"""The metrics of a worker's processes over HTTP, and its probes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from encoder.errors import InputError
from encoder.system.environment import set_for_library

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

    from prometheus_client.registry import Collector

    from workers.config import Settings
    from workers.observe.probes import Probes

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Names the folder in which a main process and its children share metrics."""

_server: WSGIServer | None = None
_probes: Probes | None = None
_main_pid = os.getpid()  # this is imported before the pool forks


@contextmanager
def serving(
    settings: Settings, make_collector: Callable[[], Collector], probes: Probes
) -> Iterator[None]:
    """Serve metrics and probes on ``metrics_host:metrics_port`` from a thread until the block ends.

    Enter it before anything imports `workers.observe.metrics`. The folder is new each time, since
    the counts of an earlier worker are not this one's.

    Raises:
        InputError: the address cannot be bound.
    """
    global _server, _probes
    if settings.metrics_port is None:
        yield
        return
    with TemporaryDirectory(prefix="anymodal-metrics-") as folder:
        set_for_library(FOLDER, folder, override=True)
        address = settings.metrics_host, settings.metrics_port
        _server = _start(*address, folder, make_collector(), probes)
        _probes = probes
        try:
            yield
        finally:
            _server.shutdown()
            _server.server_close()


def beat() -> None:
    """Note for the probes that the main process turns its timers."""
    if _probes is not None:
        _probes.beat()


def leave_to_main() -> None:
    """Close a forked child's copy of the listening socket, or it would outlive its parent."""
    if _server is not None and os.getpid() != _main_pid:
        _server.socket.close()


def _start(host: str, port: int, folder: str, collector: Collector, probes: Probes) -> WSGIServer:
    from prometheus_client import CollectorRegistry, start_http_server
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry, folder)
    registry.register(collector)
    try:
        server, _ = start_http_server(port, host, registry)
    except OSError as error:
        raise InputError(
            "--metrics-port", got=f"{host}:{port}, which cannot be used: {error}", wanted="another"
        ) from error
    metrics = server.get_app()
    assert metrics is not None
    server.set_app(probes.before(metrics))
    return server

"""Run the application in uvicorn."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Callable, Sequence
from functools import partial
from threading import Event
from typing import TYPE_CHECKING

from encoder.system.signals import on_signals

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

    from search.api.config import ApiConfig

_SWITCH_S = 0.001
"""Of Python's 5 ms the event loop would wait for each of the threads that compute, several times
for each answer."""


def serve(
    app: FastAPI,
    config: ApiConfig,
    stopping: Event,
    on_listening: Callable[[str], None],
    own_sockets: Sequence[socket.socket] = (),
) -> None:
    """Serve until SIGTERM or SIGINT; for the main thread.

    It then accepts nothing new, ends event streams, and finishes current requests within
    ``config.stop_s`` seconds.

    Args:
        app: see `search.api.app.create_app`.
        config: host, port and limits.
        stopping: set as soon as the server is to stop.
        on_listening: called with the address once the server answers there.
        own_sockets: listening Unix sockets, at which requests have this user's rights.

    Raises:
        OSError: the address is taken, or is not one of this machine.
    """

    def stop(*_: object) -> None:
        stopping.set()
        server.should_exit = True

    sys.setswitchinterval(_SWITCH_S)
    server = server_for(app, config)
    # uvicorn installs its own handlers for as long as it runs.
    wake = on_signals(stop, signal.SIGTERM, signal.SIGINT)
    server.handle_exit = wake  # type: ignore[assignment, method-assign]
    with listening_socket(config.host, config.port) as listener:
        host = f"[{config.host}]" if ":" in config.host else config.host
        on_listening(f"http://{host}:{listener.getsockname()[1]}")
        server.run(sockets=[listener, *own_sockets])


def server_for(app: FastAPI, config: ApiConfig) -> uvicorn.Server:
    """A uvicorn server with guarded connections, not started yet."""
    import uvicorn

    from search.api.connections import Guard, GuardedProtocol, PaceLimits, allow_open_files

    guard = Guard(
        allow_open_files(config.max_connections),
        config.max_connections_per_address,
        config.proxies,
        app.state.services.metrics.connected,
    )
    limits = PaceLimits(config.head_s, config.body_s, config.write_s, config.min_bytes_per_s)
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=partial(GuardedProtocol, guard, limits),  # type: ignore[arg-type]
            ws="none",
            log_config=None,  # its records go where all others of this process go
            access_log=False,
            server_header=False,
            forwarded_allow_ips=[str(proxy) for proxy in config.proxies],
            timeout_keep_alive=config.keep_alive_s,
            timeout_graceful_shutdown=max(1, round(config.stop_s)),
        )
    )


def listening_socket(host: str, port: int) -> socket.socket:
    """A listening socket; clients can connect before uvicorn is up."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=2048)
    # Else the body of an answer waits for the client's delayed acknowledgement of its head: 40 ms.
    # asyncio sets this only for its own sockets; connections inherit it from the listener.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener

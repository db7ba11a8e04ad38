"""The server's life: uvicorn around the application."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from threading import Event
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI

    from search.api.config import ApiConfig


def serve(
    app: FastAPI, config: ApiConfig, stopping: Event, on_listening: Callable[[str], None]
) -> None:
    """Serve until SIGTERM or SIGINT; for the main thread.

    From then on nothing new is taken, event streams end, and what is under way is finished, for
    ``config.stop_s`` seconds at most.

    Args:
        app: see `search.api.app.create_app`.
        config: says where.
        stopping: set as soon as the server is to stop.
        on_listening: told of the address, once it answers there.

    Raises:
        OSError: the address is taken, or is not one of this machine.
    """
    import uvicorn

    def stop(*_: object) -> None:
        stopping.set()
        server.should_exit = True

    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,  # as all other records of this process
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=max(1, round(config.stop_s)),
        )
    )
    # uvicorn installs its own handlers for as long as it runs, and afterwards sends itself the
    # signals again that it has caught: they must then find handlers that do not end the process.
    for kind in (signal.SIGTERM, signal.SIGINT):
        signal.signal(kind, stop)
    server.handle_exit = stop  # type: ignore[assignment, method-assign]
    with listening_socket(config.host, config.port) as listener:
        host = f"[{config.host}]" if ":" in config.host else config.host
        on_listening(f"http://{host}:{listener.getsockname()[1]}")
        server.run(sockets=[listener])


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that listens, so that who is told of it can connect before uvicorn is up."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=2048)
    # Else the body of an answer waits for the client's delayed acknowledgement of its head: 40 ms.
    # asyncio sets this for sockets of its own only; connections inherit it from the listener.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener

"""The server's life: uvicorn around the application."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI

    from search.api.config import ApiConfig

_STOP_S = 20


def serve(app: FastAPI, config: ApiConfig) -> None:
    """Serve until SIGTERM or SIGINT; what is under way is finished, for 20 seconds at most."""
    import uvicorn

    uvicorn.run(
        app,
        host=config.host,
        port=config.port,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_STOP_S,
    )

"""The application: routers, errors, and the page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from search.api.errors import add_error_handlers
from search.api.services import Services

if TYPE_CHECKING:
    from fastapi import FastAPI

_PAGE = Path(__file__).parent.parent / "web"


def create_app(services: Services) -> FastAPI:
    """The ASGI application over these parts; who made them closes them."""
    from importlib.metadata import version

    from fastapi import FastAPI
    from fastapi.staticfiles import StaticFiles

    from search.api.routers import assets, health, jobs, latency, search, uploads

    app = FastAPI(title="anymodal", version=version("anymodal"))
    app.state.services = services
    add_error_handlers(app)
    for part in (search, uploads, assets, jobs, latency, health):
        app.include_router(part.router)
    app.mount("/", StaticFiles(directory=_PAGE, html=True, check_dir=False), name="page")
    return app

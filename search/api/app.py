"""The application: routers, errors, and the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.api.errors import add_error_handlers
from search.api.services import Services

if TYPE_CHECKING:
    from fastapi import FastAPI


def create_app(services: Services) -> FastAPI:
    """The ASGI application made of these parts; the caller closes them."""
    from importlib.metadata import version

    from fastapi import FastAPI
    from starlette.middleware.cors import CORSMiddleware

    from search.api.edge import Edge
    from search.api.openapi import described
    from search.api.responses.page import page
    from search.api.routers import (
        assets,
        embeddings,
        health,
        jobs,
        latency,
        models,
        rerank,
        search,
        session,
        transcriptions,
        uploads,
    )

    # FastAPI's documentation pages load scripts from other sites.
    app = FastAPI(title="anymodal", version=version("anymodal"), docs_url=None, redoc_url=None)
    app.state.services = services
    app.openapi = lambda: described(app)  # type: ignore[method-assign]
    add_error_handlers(app)
    modules = (
        session,
        search,
        embeddings,
        rerank,
        transcriptions,
        models,
        uploads,
        assets,
        jobs,
        latency,
        health,
    )
    for module in modules:
        app.include_router(module.router)
    app.state.endpoints = [route for module in modules for route in module.router.routes]
    if services.config.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=services.config.cors_origins,
            allow_methods=["GET", "POST", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=["Server-Timing", "X-Request-ID", "Retry-After", "Ignored-Fields"],
        )
    app.add_middleware(Edge, config=services.config, metrics=services.metrics)
    # Not mounted: a mount at / would answer requests to endpoints with the wrong method.
    app.router.default = page()
    return app

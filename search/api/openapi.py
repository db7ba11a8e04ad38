"""The OpenAPI description: FastAPI's, completed with keys and with bodies that endpoints parse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic.json_schema import models_json_schema

from search.api.access.auth import COOKIE, scope_of
from search.api.schemas import AssetChange, JobRequest, SearchRequest
from search.api.services import Services
from search.api.vendors.cohere import EmbedRequest, EmbedV1Request, RerankRequest
from search.api.vendors.openai import EmbeddingsRequest
from search.api.vendors.text_servers import OllamaRequest, TeiRequest

_REF = "#/components/schemas/{model}"
_SIZED = {
    "EmbeddingsRequest": "dimensions",
    "EmbedRequest": "output_dimension",
    "EmbedV1Request": "output_dimension",
    "OllamaRequest": "dimensions",
    "TeiRequest": "dimensions",
}
_BODIES = (
    SearchRequest,
    EmbeddingsRequest,
    EmbedRequest,
    EmbedV1Request,
    OllamaRequest,
    TeiRequest,
    RerankRequest,
    JobRequest,
    AssetChange,
)
_KEY, _SESSION = "key", "session"
_SCHEMES = {
    _KEY: {
        "type": "http",
        "scheme": "bearer",
        "description": "A key made by `anymodal keys create`.",
    },
    _SESSION: {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": "Set by `POST /v1/session`; for GET only.",
    },
}


def described(app: FastAPI) -> dict[str, Any]:
    """OpenAPI 3.1, made once."""
    if app.openapi_schema is None:
        services: Services = app.state.services
        schema = get_openapi(
            title=app.title,
            version=app.version,
            summary="Text, images, sound, video and other kinds, searchable with any of them.",
            routes=app.routes,
        )
        _, bodies = models_json_schema(
            [(model, "validation") for model in _BODIES],
            ref_template=_REF,
        )
        components = schema.setdefault("components", {})
        components.setdefault("schemas", {}).update(bodies["$defs"])
        components["securitySchemes"] = _SCHEMES
        for model, field in _SIZED.items():
            _name_dimensions(components["schemas"][model]["properties"], field, services)
        _name_kinds(components["schemas"], services)
        for route, operation in _operations(app, schema):
            _secure(route, operation, services)
        app.openapi_schema = schema
    return app.openapi_schema


def _operations(app: FastAPI, schema: dict[str, Any]) -> Iterator[tuple[APIRoute, dict[str, Any]]]:
    for route in app.state.endpoints:
        if route.include_in_schema:
            for method in route.methods or ():
                yield route, schema["paths"][route.path_format][method.lower()]


def _secure(route: APIRoute, operation: dict[str, Any], services: Services) -> None:
    """Declare the key that an endpoint of this server needs or accepts."""
    operation.pop("security", None)
    scope = scope_of(route, services.config)
    if scope is None:
        return
    allowed: list[dict[str, list[str]]] = [{_KEY: [scope]}]
    if "GET" in (route.methods or ()):
        allowed.append({_SESSION: [scope]})
    if not services.access.required:
        allowed.append({})
    operation["security"] = allowed
    operation["description"] += f"\n\nScope of the key: `{scope}`."


def _name_kinds(schemas: dict[str, Any], services: Services) -> None:
    """List the installed kinds wherever a request can state a file's kind."""
    choices = [kind.name for kind in services.kinds]
    for name in ("TermIn", "InputIn"):
        description = schemas[name]["properties"]["kind"]["description"]
        schemas[name]["properties"]["kind"] = {
            "enum": [*choices, None],
            "description": description,
        }


def _name_dimensions(properties: dict[str, Any], field: str, services: Services) -> None:
    choices = [*services.tokens.cuts, services.encoder.space.embed_dim]
    description = properties[field]["description"]
    properties[field] = {"enum": [*choices, None], "description": description}

"""The description of the API: FastAPI's, and the bodies that endpoints read themselves."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from search.api.models import SearchRequest
from search.api.openai.requests import EmbeddingsRequest

_REF = "#/components/schemas/{model}"


def described(app: FastAPI) -> dict[str, Any]:
    """OpenAPI 3.1, made once."""
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title,
            version=app.version,
            summary="Text, images, sound and video, searchable with any of them.",
            routes=app.routes,
        )
        _, bodies = models_json_schema(
            [(SearchRequest, "validation"), (EmbeddingsRequest, "validation")],
            ref_template=_REF,
        )
        schemas = schema.setdefault("components", {}).setdefault("schemas", {})
        schemas.update(bodies["$defs"])
        app.openapi_schema = schema
    return app.openapi_schema

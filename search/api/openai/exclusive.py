"""Fields of which a request has exactly one: checked, and stated in OpenAPI."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pydantic import BaseModel


def check_one(request: BaseModel, names: Sequence[str]) -> None:
    """Raise ValueError unless exactly one was sent; null counts as sent."""
    sent = [name for name in names if name in request.model_fields_set]
    if len(sent) != 1 or getattr(request, sent[0]) is None:
        raise ValueError(f"expected exactly one of {', '.join(names)}, got {len(sent)}")


def said(
    one_of: Sequence[str], not_both: Sequence[tuple[str, str]] = ()
) -> Callable[[dict[str, Any]], None]:
    """For ``json_schema_extra``: one of these fields, and not both of each pair."""

    def write(schema: dict[str, Any]) -> None:
        for name in one_of:
            about = schema["properties"][name]
            about.pop("default", None)
            kinds = [kind for kind in about.pop("anyOf") if kind.get("type") != "null"]
            about.update({"anyOf": kinds} if len(kinds) > 1 else kinds[0])
        schema["oneOf"] = [{"required": [name]} for name in one_of]
        if not_both:
            schema["not"] = {"anyOf": [{"required": list(pair)} for pair in not_both]}

    return write

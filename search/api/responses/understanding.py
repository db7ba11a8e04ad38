"""What was understood of a query, as OpenAPI describes it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from search.types import Reading


class SaidOut(BaseModel):
    """A span of speech in a body of sound, and what was understood."""

    text: str
    language: str
    confidence: float
    start_s: float
    end_s: float
    recognize_ms: float = Field(
        description="Time spent on these words, mostly while the rest was arriving."
    )


class UnderstoodOut(BaseModel):
    """Words of the query that were taken as a filter. `understand: false` searches for them."""

    kind: Reading
    text: str
    filter: dict[str, Any]

"""Requests and answers of reranking, in the shape that Jina and Cohere share."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field

from search.api.schemas import Strict

MAX_DOCUMENTS = 1000
_MAX_CHARS = 100_000


class DocumentIn(Strict):
    """A text."""

    text: Annotated[str, Field(max_length=_MAX_CHARS)]


def _as_document(given: object) -> object:
    return {"text": given} if isinstance(given, str) else given


Document = Annotated[
    DocumentIn,
    BeforeValidator(
        _as_document,
        json_schema_input_type=Annotated[str, Field(max_length=_MAX_CHARS)] | DocumentIn,
    ),
]


class RerankRequest(Strict):
    """A question, and the texts to order."""

    query: Annotated[str, Field(min_length=1, max_length=20_000, pattern=r"\S")]
    documents: Annotated[list[Document], Field(min_length=1, max_length=MAX_DOCUMENTS)]
    model: str | None = Field(
        None, max_length=1000, description="The server's reranker; may be left out."
    )
    top_n: int | None = Field(
        None, ge=1, description="How many of the best to return; by default all."
    )
    return_documents: bool = Field(False, description="Also return the texts.")
    priority: int | None = Field(None, description="Not used.")


class RankedOut(BaseModel):
    """A text by its place in the request."""

    index: int
    relevance_score: float = Field(description="0 to 1.")
    document: dict[str, str] | None = None


class RerankAnswer(BaseModel):
    """The texts, best first."""

    id: str = Field(description="The id of the request.")
    model: str
    results: list[RankedOut]
    meta: dict[str, Any]

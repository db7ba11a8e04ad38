"""Requests for embeddings of texts in the shapes of Ollama and text-embeddings-inference (TEI)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, Field

from encoder.types import DOCUMENT, QUERY, Role
from search.api.requests.inputs import MAX_INPUTS, InputIn, InputText
from search.api.vendors.compatible import Compatible
from search.api.vendors.content import Labelled

_Several = Annotated[list[InputText], Field(min_length=1, max_length=MAX_INPUTS)]
Texts = Annotated[
    _Several,
    BeforeValidator(
        lambda sent: [sent] if isinstance(sent, str) else sent,
        json_schema_input_type=InputText | _Several,
    ),
]


def _labelled(texts: Texts, name: str) -> list[list[Labelled]]:
    """Each text as a content of its own; ``name`` is the field's."""
    return [
        [(f"{name}[{n}]", InputIn.model_validate({"text": text}))] for n, text in enumerate(texts)
    ]


class OllamaRequest(Compatible):
    """Ollama's `POST /api/embed`."""

    sized_by: ClassVar[str] = "dimensions"
    role: ClassVar[Role] = DOCUMENT

    model: str = Field(max_length=1000, description="A model from `/v1/models`.")
    input: Texts
    truncate: bool = Field(
        True,
        description="False refuses texts longer than the model's window. Otherwise, the mean of "
        "their windows is used; nothing is cut off.",
    )
    dimensions: int | None = Field(
        None, description="The model's full size, or one of its Matryoshka cuts."
    )

    @property
    def refuses_long(self) -> bool:
        """Whether a text longer than the model's window is an error."""
        return not self.truncate

    def contents(self) -> list[list[Labelled]]:
        """For each embedding, the text that it is made of."""
        return _labelled(self.input, "input")


class OllamaAnswer(BaseModel):
    """Unit vectors, and the number of tokens."""

    model: str
    embeddings: list[list[float]]
    prompt_eval_count: int


class TeiRequest(Compatible):
    """TEI's `POST /embed`."""

    sized_by: ClassVar[str] = "dimensions"
    model: ClassVar[str | None] = None

    inputs: Texts
    truncate: bool = Field(
        False, description="As Ollama's. TEI's default is false, which refuses long texts."
    )
    prompt_name: Literal["query", "document", "passage"] = Field(
        "document", description="`query` to search with, the others to store."
    )
    dimensions: int | None = Field(
        None, description="The model's full size, or one of its Matryoshka cuts."
    )
    normalize: Literal[True] = Field(True, description="Embeddings are always unit vectors.")

    @property
    def role(self) -> Role:
        """The role to encode the texts in."""
        return QUERY if self.prompt_name == "query" else DOCUMENT

    @property
    def refuses_long(self) -> bool:
        """Whether a text longer than the model's window is an error."""
        return not self.truncate

    def contents(self) -> list[list[Labelled]]:
        """For each embedding, the text that it is made of."""
        return _labelled(self.inputs, "inputs")

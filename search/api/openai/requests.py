"""Requests and answers in OpenAI's shape, as OpenAPI describes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from encoder.types import DOCUMENT, QUERY, Role
from search.api.schemas import FileIn, Strict

MAX_INPUTS = 2048
_MAX_CHARS = 65_536
_MAX_TOKENS = 16_384
_SOURCES = ("text", "tokens", "image", "audio", "video", "file", "base64", "url")

InputType = Literal["query", "document", "search_query", "search_document", "passage"]
_ROLES: Mapping[InputType, Role] = {
    "query": QUERY,
    "document": DOCUMENT,
    "search_query": QUERY,
    "search_document": DOCUMENT,
    "passage": DOCUMENT,
}
"""Voyage's names, then those of Cohere and, for documents, of NVIDIA's NIM."""

InputText = Annotated[str, Field(min_length=1, max_length=_MAX_CHARS)]
TokenId = Annotated[int, Field(ge=0, lt=2**31)]
TokenIds = Annotated[list[TokenId], Field(min_length=1, max_length=_MAX_TOKENS)]


class InputIn(FileIn):
    """One thing to embed: exactly one of text, tokens, image, audio, video, file, base64, url."""

    text: InputText | None = None
    tokens: TokenIds | None = Field(
        None, description="Token ids of the model's tokenizer, special tokens included."
    )
    image: str | None = Field(None, description="Base64 or a data: URI.")
    audio: str | None = None
    video: str | None = None

    @model_validator(mode="after")
    def _one_source(self) -> InputIn:
        self.check_sources(_SOURCES)
        return self


def _as_inputs(given: object) -> object:
    """Strings are texts, and lists of numbers tokens."""
    if isinstance(given, list) and not _is_tokens(given):
        return [_as_input(one) for one in given]
    return [_as_input(given)]


def _as_input(one: object) -> object:
    if isinstance(one, str):
        return {"text": one}
    return {"tokens": one} if isinstance(one, list) else one


def _is_tokens(given: list[object]) -> bool:
    return bool(given) and isinstance(given[0], int)


OneInput = InputText | TokenIds | InputIn
Inputs = Annotated[list[OneInput], Field(min_length=1, max_length=MAX_INPUTS)]


class EmbeddingsRequest(Strict):
    """OpenAI's, extended to other modalities."""

    input: Annotated[
        list[InputIn],
        Field(min_length=1, max_length=MAX_INPUTS),
        BeforeValidator(_as_inputs, json_schema_input_type=OneInput | Inputs),
    ]
    model: str | None = Field(None, max_length=1000, description="One of `/v1/models`, or none.")
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(
        None, description="The model's full size, or one of its Matryoshka cuts."
    )
    on_overflow: Literal["pool", "error"] = Field(
        "pool",
        description="For texts beyond the model's window: `pool` averages its windows, `error` "
        "answers 400.",
    )
    input_type: InputType = Field(
        "document",
        description="`query` to search with, `document` to store. Cohere's `search_query` and "
        "`search_document` and NIM's `passage` are accepted too.",
    )
    user: str | None = Field(None, max_length=1000, description="Not used.")

    @property
    def role(self) -> Role:
        """The role to encode the inputs in."""
        return _ROLES[self.input_type]


class EmbeddingOut(BaseModel):
    """A unit vector; as Base64: little-endian float32."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str
    windows: int | None = Field(
        description="The number of windows of a text; above 1 the embedding is their mean, "
        "weighted by tokens. Null for other modalities."
    )


class UsageOut(BaseModel):
    """Tokens of text, in all windows; pictures, sounds and films have none."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsAnswer(BaseModel):
    """As OpenAI's."""

    object: Literal["list"]
    data: list[EmbeddingOut]
    model: str
    usage: UsageOut


class ModelOut(BaseModel):
    """A model that is served."""

    id: str
    object: Literal["model"]
    created: int = Field(description="When the server loaded it, in seconds since 1970.")
    owned_by: str
    embed_dim: int
    dimensions: list[int] = Field(description="The values that `dimensions` accepts.")
    modalities: list[str]


class ModelsAnswer(BaseModel):
    """The models that are served."""

    object: Literal["list"]
    data: list[ModelOut]

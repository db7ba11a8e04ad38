"""Requests and answers in OpenAI's shape, as OpenAPI describes them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Annotated, Any, ClassVar, Literal

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from encoder.errors import AnymodalError
from encoder.types import DOCUMENT, QUERY, Role
from search.api.errors import error_answer
from search.api.requests.inputs import MAX_INPUTS, InputIn, Inputs, OneInput, as_inputs
from search.api.vendors.compatible import Compatible
from search.api.vendors.content import (
    MAX_PARTS,
    MOST_TOKENS,
    Format,
    Labelled,
    MessageIn,
    check_one,
    said,
)

InputType = Literal["query", "document", "search_query", "search_document", "passage"]
_ROLES: Mapping[InputType, Role] = {
    "query": QUERY,
    "document": DOCUMENT,
    "search_query": QUERY,
    "search_document": DOCUMENT,
    "passage": DOCUMENT,
}
"""Voyage's names, then Cohere's and, for documents, that of NVIDIA's NIM."""

Task = Literal[
    "retrieval.query", "retrieval.passage", "text-matching", "classification", "separation"
]
_OF_TASKS: Mapping[Task, Role] = {"retrieval.query": QUERY}
"""Jina's; the others compare documents with documents."""

_CONTENTS = ("input", "messages")
_SAME = [
    ("input_type", "task"),
    ("encoding_format", "embedding_type"),
    ("on_overflow", "truncation"),
]


class EmbeddingsRequest(Compatible):
    """OpenAI's, extended to other modalities, and to what vLLM, Jina and Voyage add.

    It has one of input and messages.
    """

    model_config = ConfigDict(json_schema_extra=said(_CONTENTS, _SAME))
    sized_by: ClassVar[str] = "dimensions"
    most_values: ClassVar[int] = Compatible.most_values + MOST_TOKENS
    most_containers: ClassVar[int] = 20_000

    input: (
        Annotated[
            list[InputIn],
            Field(min_length=1, max_length=MAX_INPUTS),
            BeforeValidator(as_inputs, json_schema_input_type=OneInput | Inputs),
        ]
        | None
    ) = None
    messages: Annotated[list[MessageIn], Field(min_length=1, max_length=MAX_PARTS)] | None = Field(
        None, description="As in a chat; all parts together become one embedding."
    )
    model: str | None = Field(
        None, max_length=1000, description="A model from `/v1/models`; may be left out."
    )
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(
        None,
        validation_alias=AliasChoices("dimensions", "output_dimension"),
        description="The model's full size, or one of its Matryoshka cuts. Voyage's "
        "`output_dimension` is accepted too.",
    )
    on_overflow: Literal["pool", "error"] = Field(
        "pool",
        description="For texts longer than the model's window: `pool` averages their windows, "
        "`error` responds with 400.",
    )
    input_type: InputType = Field(
        "document",
        description="`query` to search with, `document` to store. Cohere's `search_query` and "
        "`search_document` and NIM's `passage` are accepted too.",
    )
    truncation: bool | None = Field(
        None, description="Voyage's: false is `on_overflow: error`, true is `pool`."
    )
    task: Task | None = Field(None, description="Jina's name for `input_type`.")
    embedding_type: Format | None = Field(
        None, description="Jina's name for `encoding_format`; see `/v2/embed` for its values."
    )
    output_dtype: Literal["float", "int8", "uint8", "binary", "ubinary"] | None = Field(
        None, description="Voyage's: the type of the numbers, also of those in Base64."
    )
    normalized: Literal[True] = Field(True, description="Embeddings are always unit vectors.")

    @model_validator(mode="after")
    def _said_once(self) -> EmbeddingsRequest:
        check_one(self, _CONTENTS)
        for pair in _SAME:
            if set(pair) <= self.model_fields_set:
                raise ValueError(f"{pair[1]} is another name for {pair[0]}: send one of them")
        return self

    @property
    def role(self) -> Role:
        """The role to encode the inputs in."""
        if self.task is not None:
            return _OF_TASKS.get(self.task, DOCUMENT)
        return _ROLES[self.input_type]

    @property
    def refuses_long(self) -> bool:
        """Whether a text longer than the model's window is an error."""
        return self.on_overflow == "error" or self.truncation is False

    @property
    def format(self) -> Format:
        """How embeddings are written."""
        if self.output_dtype in (None, "float"):
            return self.embedding_type or self.encoding_format
        return self.output_dtype

    @property
    def is_packed(self) -> bool:
        """Whether the numbers of the format are written as Base64."""
        return self.encoding_format == "base64"

    def contents(self) -> list[list[Labelled]]:
        """For each embedding, the parts that it is made of."""
        if self.messages is None:
            return [[(f"input[{n}]", source)] for n, source in enumerate(self.input or [])]
        parts = [message.parts(f"messages[{n}]") for n, message in enumerate(self.messages)]
        return [[source_part for of_one in parts for source_part in of_one]]


class EmbeddingOut(BaseModel):
    """A unit vector; as Base64: little-endian float32."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | list[int] | str
    windows: int | None = Field(
        description="The number of windows of a text; above 1, the embedding is their mean, "
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


class NamedModelOut(BaseModel):
    """A model, and where it serves."""

    name: str
    endpoints: list[Literal["embed", "rerank"]]


class ModelsAnswer(BaseModel):
    """The models that are served."""

    object: Literal["list"]
    data: list[ModelOut] = Field(description="What `/v1/embeddings` accepts.")
    models: list[NamedModelOut] = Field(description="All, as Cohere's clients read them.")


class OpenAIRoute(APIRoute):
    """An endpoint whose errors OpenAI's clients show in full.

    They raise a 400 as `BadRequestError`, and show only the message of the body.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See `APIRoute`."""
        handle = super().get_route_handler()

        async def refusing(request: Request) -> Response:
            try:
                return await handle(request)
            except (AnymodalError, ValidationError) as error:
                answer = error_answer(error, joined=True)
                if answer.status_code == 500:
                    raise  # to be logged
                if answer.status_code == 422:
                    answer.status_code = 400
                return answer

        return refusing

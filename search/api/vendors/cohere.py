"""Requests and answers in Cohere's shape, as OpenAPI describes them."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from encoder.types import DOCUMENT, QUERY, Role
from search.api.requests.inputs import MAX_INPUTS, InputIn, InputText
from search.api.schemas import Strict
from search.api.vendors.compatible import Compatible
from search.api.vendors.content import Content, Format, Labelled, check_one, labelled, said

InputType = Literal["search_document", "search_query", "classification", "clustering", "image"]
_SOURCES = ("texts", "images", "inputs")

Formats = Annotated[list[Format], Field(min_length=1, max_length=6)]
_FLOAT: Formats = ["float"]
Texts = Annotated[list[InputText], Field(min_length=1, max_length=MAX_INPUTS)]
Images = Annotated[
    list[Annotated[str, Field(description="A data: URI, Base64, or an http(s) URL.")]],
    Field(min_length=1, max_length=MAX_INPUTS),
]


class MixedIn(Strict):
    """What becomes one embedding."""

    content: Content


class EmbedRequest(Compatible):
    """Cohere's: exactly one of texts, images and inputs."""

    model_config = ConfigDict(json_schema_extra=said(_SOURCES))
    sized_by: ClassVar[str] = "output_dimension"
    most_containers: ClassVar[int] = 20_000

    model: str | None = Field(
        None, max_length=1000, description="A model from `/v1/models`; may be left out."
    )
    input_type: InputType = Field(description="All but `search_query` are encoded as documents.")
    texts: Texts | None = None
    images: Images | None = None
    inputs: Annotated[list[MixedIn], Field(min_length=1, max_length=MAX_INPUTS)] | None = None
    output_dimension: int | None = Field(
        None, description="The model's full size, or one of its Matryoshka cuts."
    )
    embedding_types: Formats | None = Field(
        _FLOAT,
        description="`int8`: scaled so that 8/√dimensions becomes 127; `uint8`: the same plus "
        "128. `ubinary`: one bit per value, set if positive, eight to a byte; `binary`: the same "
        "minus 128.",
    )
    truncate: Literal["NONE", "START", "END"] = Field(
        "END",
        description="`NONE` refuses texts longer than the model's window. Otherwise, the mean of "
        "their windows is used; nothing is cut off.",
    )

    @model_validator(mode="after")
    def _one_source(self) -> EmbedRequest:
        check_one(self, _SOURCES)
        return self

    @property
    def role(self) -> Role:
        """The role to encode the inputs in."""
        return QUERY if self.input_type == "search_query" else DOCUMENT

    @property
    def dimensions(self) -> int | None:
        """`output_dimension`, under OpenAI's name."""
        return self.output_dimension

    @property
    def refuses_long(self) -> bool:
        """Whether a text longer than the model's window is an error."""
        return self.truncate == "NONE"

    def contents(self) -> list[list[Labelled]]:
        """For each embedding, the parts that it is made of."""
        if self.texts is not None:
            return [
                [(f"texts[{n}]", InputIn.model_validate({"text": content}))]
                for n, content in enumerate(self.texts)
            ]
        if self.images is not None:
            return [
                [(f"images[{n}]", InputIn.model_validate({"image": content}))]
                for n, content in enumerate(self.images)
            ]
        mixed = enumerate(self.inputs or [])
        return [labelled(content.content, f"inputs[{n}].content") for n, content in mixed]


class EmbedV1Request(EmbedRequest):
    """Cohere's first version: without a type, embeddings are lists of numbers."""

    input_type: InputType = Field("search_document", description="As in `/v2/embed`.")
    embedding_types: Formats | None = None


class EmbedAnswer(BaseModel):
    """Cohere's: for each of the types, an embedding of each input; or these alone."""

    id: str = Field(description="The id of the request.")
    embeddings: dict[Format, list[list[float]] | list[list[int]] | list[str]] | list[list[float]]
    texts: list[str] | None = None
    response_type: Literal["embeddings_by_type", "embeddings_floats"]
    meta: dict[str, Any]


MAX_DOCUMENTS = 1000
_MAX_CHARS = 100_000


class DocumentIn(Strict):
    """A text."""

    text: Annotated[str, Field(max_length=_MAX_CHARS)]


def _as_document(document: object) -> object:
    return {"text": document} if isinstance(document, str) else document


Document = Annotated[
    DocumentIn,
    BeforeValidator(
        _as_document,
        json_schema_input_type=Annotated[str, Field(max_length=_MAX_CHARS)] | DocumentIn,
    ),
]


class RerankRequest(Compatible):
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
    top_k: int | None = Field(None, ge=1, description="Voyage's `top_n`.")
    truncation: bool | None = Field(
        None, description="Voyage's; a long text is read whole, in windows, either way."
    )

    @property
    def n_wanted(self) -> int | None:
        """How many of the best are returned; None for all."""
        return self.top_k if self.top_n is None else self.top_n

    @property
    def is_voyage(self) -> bool:
        """Whether Voyage's fields were sent, whose clients read another answer."""
        return bool({"top_k", "truncation"} & self.model_fields_set)


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
    data: list[RankedOut] | None = Field(
        None, description="The same, where fields of Voyage were sent."
    )
    usage: dict[str, int] | None = Field(None, description="`total_tokens`, likewise.")
    meta: dict[str, Any]

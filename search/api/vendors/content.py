"""Parts of which one embedding is made, as clients of vLLM and Cohere send them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, Field

from search.api.bounded_threads import usable_cores
from search.api.requests.inputs import InputIn, InputText
from search.api.schemas import Strict


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
            schema_of_field = schema["properties"][name]
            schema_of_field.pop("default", None)
            kinds = [
                alternative
                for alternative in schema_of_field.pop("anyOf")
                if alternative.get("type") != "null"
            ]
            schema_of_field.update({"anyOf": kinds} if len(kinds) > 1 else kinds[0])
        # Not as `oneOf`: what generates clients takes that for a choice of types.
        pairs = [*combinations(one_of, 2), *not_both]
        none = {"not": {"anyOf": [{"required": [name]} for name in one_of]}}
        schema["not"] = {"anyOf": [none, *({"required": list(pair)} for pair in pairs)]}

    return write


Format: TypeAlias = Literal["float", "base64", "int8", "uint8", "binary", "ubinary"]
"""How embeddings are written."""

MOST_TOKENS = 16_384 * usable_cores()
"""In one request: what takes a core some eight seconds."""
MAX_PARTS = 32

Labelled: TypeAlias = tuple[str, InputIn]
"""A part, and its name in errors."""


class UrlIn(Strict):
    """Where a file is."""

    url: str = Field(
        description="A data: URI, or an http(s) URL of a host that this server may fetch from."
    )
    detail: str | None = Field(None, max_length=100, description="Not used.")


class SoundIn(Strict):
    """A sound within the request."""

    data: str = Field(description="Base64.")
    format: str | None = Field(
        None, max_length=100, description="Not used; detected from the data."
    )


class TextPart(Strict):
    """A text."""

    type: Literal["text"]
    text: InputText


class ImagePart(Strict):
    """A picture."""

    type: Literal["image_url"]
    image_url: UrlIn


class SoundPart(Strict):
    """A sound."""

    type: Literal["input_audio"]
    input_audio: SoundIn


class SoundUrlPart(Strict):
    """A sound, as vLLM takes it too."""

    type: Literal["audio_url"]
    audio_url: UrlIn


class VideoPart(Strict):
    """A film."""

    type: Literal["video_url"]
    video_url: UrlIn


ContentPart = Annotated[
    TextPart | ImagePart | SoundPart | SoundUrlPart | VideoPart, Field(discriminator="type")
]
Content = Annotated[list[ContentPart], Field(min_length=1, max_length=MAX_PARTS)]


def labelled(content: Sequence[ContentPart], label: str) -> list[Labelled]:
    """The parts of one content as inputs."""
    sources = enumerate(map(_source_of, content))
    return [(f"{label}[{n}]", InputIn.model_validate(source)) for n, source in sources]


def _source_of(piece: ContentPart) -> dict[str, str]:
    match piece:
        case TextPart():
            return {"text": piece.text}
        case ImagePart():
            return {"image": piece.image_url.url}
        case SoundPart():
            return {"audio": piece.input_audio.data}
        case SoundUrlPart():
            return {"audio": piece.audio_url.url}
        case VideoPart():
            return {"video": piece.video_url.url}


class MessageIn(Strict):
    """What a user says in a chat. The prompt of the model is chosen by ``input_type``."""

    role: Literal["user"]
    content: InputText | Content

    def parts(self, label: str) -> list[Labelled]:
        """As inputs; ``label`` names the message in errors."""
        if isinstance(self.content, str):
            return [(f"{label}.content", InputIn.model_validate({"text": self.content}))]
        return labelled(self.content, f"{label}.content")

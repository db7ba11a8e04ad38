"""One thing to embed."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from search.api.schemas import FileIn

MAX_INPUTS = 2048
_MAX_CHARS = 65_536
_MAX_TOKENS = 16_384
_SOURCES = ("text", "tokens", "image", "audio", "video", "file", "base64", "url")

InputText = Annotated[str, Field(min_length=1, max_length=_MAX_CHARS)]
TokenId = Annotated[int, Field(ge=0, lt=2**31)]
TokenIds = Annotated[list[TokenId], Field(min_length=1, max_length=_MAX_TOKENS)]


class InputIn(FileIn):
    """One thing to embed: exactly one of text, tokens, image, audio, video, file, base64, url."""

    text: InputText | None = None
    tokens: TokenIds | None = Field(
        None, description="Token ids of the model's tokenizer, special tokens included."
    )
    image: str | None = Field(
        None,
        description="Base64, a data: URI, or an http(s) URL of a host that this server may fetch "
        "from.",
    )
    audio: str | None = None
    video: str | None = None

    @model_validator(mode="after")
    def _one_source(self) -> InputIn:
        self.check_sources(_SOURCES)
        return self


def as_inputs(sent: object) -> object:
    """Strings are texts, lists of numbers tokens, and Jina's ``bytes`` Base64."""
    if isinstance(sent, list) and not _is_tokens(sent):
        if len(sent) > MAX_INPUTS:  # refused by its length, whatever is in it
            return sent
        return [_as_input(element) for element in sent]
    return [_as_input(sent)]


def _as_input(element: object) -> object:
    if isinstance(element, str):
        return {"text": element}
    if isinstance(element, dict) and element.keys() == {"bytes"}:
        return {"base64": element["bytes"]}
    return {"tokens": element} if isinstance(element, list) else element


def _is_tokens(sent: list[object]) -> bool:
    return bool(sent) and isinstance(sent[0], int)


OneInput = InputText | TokenIds | InputIn
Inputs = Annotated[list[OneInput], Field(min_length=1, max_length=MAX_INPUTS)]

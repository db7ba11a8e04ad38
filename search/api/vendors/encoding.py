"""Embed many inputs a few at a time, so that searches run in between and deadlines are kept."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from encoder.errors import InputError
from encoder.models.spec import stands_for
from encoder.space import l2_normalize
from encoder.types import TEXT, Embeddings, Item
from search.api.bounded_threads import Turn
from search.api.requests.bodies import SentFile
from search.api.requests.budgets import TokenBudget
from search.api.requests.inputs import InputIn
from search.api.requests.queries import item_of
from search.api.services import Services
from search.api.vendors.cohere import EmbedRequest
from search.api.vendors.content import MOST_TOKENS, Format, Labelled
from search.api.vendors.openai import EmbeddingsRequest
from search.api.vendors.text_servers import OllamaRequest, TeiRequest
from search.errors import NotFoundError

_WIDEST = 8.0


def written(
    row: Embeddings, format: Format, is_packed: bool = False
) -> list[float] | list[int] | str:
    """A unit vector [dim] in one of the formats that Cohere and Jina have.

    ``int8`` has the same scale for all vectors of a length, so that dot products are comparable: a
    value of 8/√dim, eight times the usual one, becomes 127. ``uint8`` is 128 more. Bits are 1
    where a value is positive, eight to a byte; ``binary`` is 128 less than ``ubinary``.
    ``base64`` is little-endian float32; the others are Base64 of their bytes if ``is_packed``.

    >>> written(np.array([0.6, -0.8], np.float32), "int8")
    [13, -18]
    >>> written(np.array([0.6, -0.8], np.float32), "ubinary")
    [128]
    """
    if format == "base64":
        return base64.b64encode(row.astype("<f4").tobytes()).decode()
    numbers: NDArray[Any] = row
    if format in ("binary", "ubinary"):
        numbers = np.packbits(row > 0).astype(np.int16) - (128 if format == "binary" else 0)
    elif format in ("int8", "uint8"):
        steps = np.rint(row * (127 * np.sqrt(len(row)) / _WIDEST)).clip(-127, 127)
        numbers = steps.astype(np.int16) + (128 if format == "uint8" else 0)
    if is_packed and format != "float":
        signed = np.uint8 if format.startswith("u") else np.int8
        return base64.b64encode(numbers.astype(signed).tobytes()).decode()
    values: list[float] | list[int] = numbers.tolist()
    return values


_ITEMS_AT_ONCE = 16
_TOKENS_AT_ONCE = 2048
"""The most inputs and tokens between two checks of the deadline, where searches can run in between;
a longer text is encoded alone."""


EmbeddingInputs: TypeAlias = EmbeddingsRequest | EmbedRequest | OllamaRequest | TeiRequest


@dataclass(frozen=True)
class EncodedInputs:
    """Embeddings of a request.

    Args:
        rows: unit rows [n, dimensions]; for several parts, their mean scaled to unit length.
        windows: for each row, the tokens in each window of its texts; None if it has no text.
    """

    rows: Embeddings
    windows: Sequence[list[int] | None]

    @property
    def n_tokens(self) -> int:
        """The tokens of all texts together."""
        return sum(sum(lengths) for lengths in self.windows if lengths)


def encode(
    services: Services, request: EmbeddingInputs, files: Mapping[str, SentFile], turn: Turn
) -> EncodedInputs:
    """Embed all inputs of a request, which can refer to ``files`` by part name."""
    _check_model(services, request)
    contents = request.contents()
    items, windows = _read(
        services,
        request,
        [labelled_source for content in contents for labelled_source in content],
        files,
        turn,
    )
    parts = []
    for piece in _pieces([sum(lengths or [1]) for lengths in windows]):
        turn.deadline.check()
        parts.append(services.encoder.encode_items(items[piece]))
    ends = np.cumsum([len(content) for content in contents])
    starts = [0, *ends[:-1].tolist()]
    rows = np.concatenate(parts)
    if len(rows) > len(contents):
        rows = l2_normalize(np.add.reduceat(rows, starts))
    together = [
        _joined(windows[start:end]) for start, end in zip(starts, ends.tolist(), strict=True)
    ]
    return EncodedInputs(_shortened(rows, request.dimensions), together)


def _joined(windows: Sequence[list[int] | None]) -> list[int] | None:
    """The windows of all parts of a content."""
    texts = [lengths for lengths in windows if lengths is not None]
    return [length for lengths in texts for length in lengths] if texts else None


def _check_model(services: Services, request: EmbeddingInputs) -> None:
    if request.model and not stands_for(request.model, services.model):
        raise NotFoundError(f"The model {request.model!r} is not served.", f"Use {services.model}.")
    dimensions = [*services.tokens.cuts, services.encoder.space.embed_dim]
    if request.dimensions is not None and request.dimensions not in dimensions:
        has = ", ".join(map(str, dimensions))
        note = "" if len(dimensions) > 1 else f" ({services.model} has no Matryoshka cuts)"
        raise InputError(request.sized_by, got=str(request.dimensions), wanted=f"{has}{note}")


def _read(
    services: Services,
    request: EmbeddingInputs,
    parts: Sequence[Labelled],
    files: Mapping[str, SentFile],
    turn: Turn,
) -> tuple[list[Item], list[list[int] | None]]:
    items, windows = [], []
    budget = TokenBudget(MOST_TOKENS, turn.deadline.check)
    for label, source in parts:
        turn.deadline.check()
        item = replace(_item(services, source, files, label), role=request.role)
        lengths = None
        if item.modality == TEXT:
            lengths = services.tokens.window_lengths(item.content, request.role)
            budget.spend(item.content, partial(sum, lengths))
        if lengths and len(lengths) > 1 and request.refuses_long:
            raise InputError(
                label,
                got=f"{sum(lengths)} tokens in {len(lengths)} windows",
                wanted='a text that fits into one, or on_overflow="pool" for their mean',
            )
        items.append(item)
        windows.append(lengths)
    return items, windows


def _item(services: Services, source: InputIn, files: Mapping[str, SentFile], label: str) -> Item:
    if source.tokens is None:
        return item_of(source, label, services.decoder, files)
    try:
        return Item(TEXT, services.tokens.text_of_tokens(source.tokens))
    except InputError as error:
        raise InputError(f"{label}.tokens", got=error.got, wanted=error.wanted) from None


def _pieces(lengths: Sequence[int]) -> Iterator[slice]:
    """Runs of neighbouring inputs, each as long as can be encoded at once.

    >>> list(_pieces([1000, 1000, 1000, 5000]))
    [slice(0, 2, None), slice(2, 3, None), slice(3, 4, None)]
    """
    start = n_tokens = 0
    for n, length in enumerate(lengths):
        if n > start and (n - start == _ITEMS_AT_ONCE or n_tokens + length > _TOKENS_AT_ONCE):
            yield slice(start, n)
            start, n_tokens = n, 0
        n_tokens += length
    yield slice(start, len(lengths))


def _shortened(rows: Embeddings, dimensions: int | None) -> Embeddings:
    if dimensions in (None, rows.shape[1]):
        return rows
    return l2_normalize(rows[:, :dimensions])

"""Calibration data: batches of a model's inputs, and the model's output on them."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from encoder.errors import InputError, ModelError
from encoder.quant.sensitivity.outputs import tensor_of

Batch = Any
"""One call's inputs: a tensor, a tuple or list (positional) or a mapping (keywords)."""

_MAX_BATCHES = 256


@dataclass(frozen=True, eq=False)
class CalibrationData:
    """Batches that fit the weights, and disjoint ones that judge the result.

    Scoring on the data that was fitted hides errors: a leak made an error look 240 times smaller.
    """

    fit: Sequence[Batch]
    score: Sequence[Batch]

    @classmethod
    def split(cls, data: Iterable[Batch] | Tensor) -> CalibrationData:
        """Every second batch fits, the others judge; a single batch is cut in two first.

        Args:
            data: a loader or list of batches, or one tensor [n, ...] of at least two items.

        Raises:
            InputError: fewer than two items.
        """
        if isinstance(data, Tensor):
            data = list(torch.split(data, max(1, min(16, len(data) // 2))))
        batches = list(islice(data, _MAX_BATCHES))
        if len(batches) == 1:
            batches = halves(batches[0])
        if len(batches) < 2:
            raise InputError(
                "calibration",
                got=f"{len(batches)} batches",
                wanted="at least two batches, or one of two items: half fits, half judges",
            )
        return cls(batches[::2], batches[1::2])


def halves(batch: Batch) -> list[Batch]:
    """Cut one batch in two along its first axis; a batch of one item stays one."""
    n = batch_items(batch)
    if n < 2:
        return [batch]
    return [_slice(batch, 0, n // 2), _slice(batch, n // 2, n)]


def batch_items(batch: Batch) -> int:
    """How many items a batch holds: the length of its first tensor."""
    first = next(_tensors(batch), None)
    return 1 if first is None else len(first)


def _tensors(batch: Batch) -> Iterator[Tensor]:
    if isinstance(batch, Tensor):
        yield batch
    elif isinstance(batch, (Mapping, list, tuple)):
        for value in batch.values() if isinstance(batch, Mapping) else batch:
            yield from _tensors(value)


def _slice(batch: Batch, start: int, end: int) -> Batch:
    if isinstance(batch, Tensor):
        return batch[start:end]
    if isinstance(batch, Mapping):
        return {name: _slice(value, start, end) for name, value in batch.items()}
    if isinstance(batch, (list, tuple)):
        return tuple(_slice(value, start, end) for value in batch)
    return batch


def run(model: nn.Module, batch: Batch) -> Tensor:
    """The model's output on one batch, float32, without gradients.

    See `outputs.tensor_of` for how it is taken from an output with several tensors.

    Raises:
        ModelError: the forward fails or gives no tensor; the message says on what and why.
    """
    with torch.inference_mode():
        return forward(model, batch).float()


def forward(model: nn.Module, batch: Batch) -> Tensor:
    """Like `run`, but with gradients if they are on."""
    try:
        if isinstance(batch, Mapping):
            output = model(dict(batch)) if takes_mapping(model, batch) else model(**batch)
        elif isinstance(batch, (list, tuple)):
            output = model(*batch)
        else:
            output = model(batch)
    # a model's forward may raise anything
    except Exception as error:
        raise ModelError(
            f"{type(model).__name__} fails on a calibration batch ({describe(batch)}): {error}.",
            remedy="Pass batches as the model takes them: a tensor, a tuple or a dict of keywords.",
        ) from error
    return tensor_of(output)


def takes_mapping(model: nn.Module, batch: Mapping[str, Any]) -> bool:
    """Whether the inputs go together into the model's first parameter, a dict of features.

    This is the case for ``SentenceTransformer.forward``.
    """
    try:
        signature = inspect.signature(model.forward)
        signature.bind(**batch)
    except TypeError:
        return len(signature.parameters) > 0 and not signature.parameters.keys() & batch.keys()
    return False


def describe(batch: Batch) -> str:
    """Types and shapes, for messages."""
    if isinstance(batch, Tensor):
        return f"{str(batch.dtype).removeprefix('torch.')} {list(batch.shape)}"
    if isinstance(batch, Mapping):
        return ", ".join(f"{name}: {describe(value)}" for name, value in batch.items())
    if isinstance(batch, (list, tuple)):
        return ", ".join(describe(value) for value in batch)
    return type(batch).__name__

"""Which part of a model's output is compared, whatever form the output has.

Importing this imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional

from encoder.errors import ModelError

_OUTPUTS = ("logits", "sentence_embedding")
_FEATURES = ("pooler_output", "last_hidden_state")
_EMBEDDINGS = "_embeds"


def tensor_of(output: Any) -> Tensor:
    """The tensor to compare: floats whose last axis is a vector or logits.

    From an output with names (a dict, a dataclass, a ``ModelOutput``) it is ``logits`` or
    ``sentence_embedding``; else everything called ``…_embeds``, joined, so that both towers of a
    CLIP count; else ``pooler_output`` or ``last_hidden_state``; else all tensors. From a tuple or
    list it is the first tensor.

    Raises:
        ModelError: there is none.
    """
    if isinstance(output, Tensor):
        return output
    named = named_of(output)
    if named is not None:
        return _of_named(named, output)
    if isinstance(output, (list, tuple)) and output:
        return tensor_of(output[0])
    raise _no_tensor(output)


def named_of(output: Any) -> Mapping[str, Any] | None:
    """An output's parts by name, if they have names."""
    if isinstance(output, Mapping):
        return output
    if is_dataclass(output) and not isinstance(output, type):
        return {field.name: getattr(output, field.name) for field in fields(output)}
    if isinstance(output, tuple) and hasattr(output, "_asdict"):
        return dict(output._asdict())
    return getattr(output, "__dict__", None) or None


def _of_named(named: Mapping[str, Any], output: Any) -> Tensor:
    floats = {
        name: value
        for name, value in named.items()
        if isinstance(value, Tensor) and value.is_floating_point() and value.ndim
    }
    embeddings = [value for name, value in floats.items() if name.endswith(_EMBEDDINGS)]
    for name in _OUTPUTS:
        if name in floats:
            return floats[name]
    if embeddings:
        return _joined(embeddings)
    for name in _FEATURES:
        if name in floats:
            return floats[name]
    if floats:
        return _joined(list(floats.values()))
    nested = [value for value in named.values() if not isinstance(value, Tensor) and value]
    if nested:
        return tensor_of(nested[0])
    raise _no_tensor(output)


def _joined(tensors: list[Tensor]) -> Tensor:
    """Several outputs as one: vectors of equal length stacked, others joined at unit length.

    The cosine of vectors joined this way is the mean of their cosines.
    """
    if len(tensors) == 1:
        return tensors[0]
    import torch

    if len({one.shape[-1] for one in tensors}) == 1:
        return torch.cat([one.float().flatten(0, -2) for one in tensors])
    units = [functional.normalize(one.float().flatten(1), dim=-1) for one in tensors]
    if len({len(one) for one in units}) == 1:
        return torch.cat(units, dim=-1)
    return torch.cat([one.flatten() for one in units])[None]


def _no_tensor(output: Any) -> ModelError:
    return ModelError(
        f"The model returned {type(output).__name__}, not a tensor.",
        remedy="Wrap it in a module whose forward returns logits or embeddings.",
    )

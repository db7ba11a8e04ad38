"""Calibration data: batches of a model's inputs, its output on them, and how far outputs differ.

Importing this imports torch.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from itertools import islice
from threading import Lock
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from encoder.errors import InputError, ModelError

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
    first = next(tensors_in(batch), None)
    return 1 if first is None else len(first)


def tensors_in(value: Any) -> Iterator[Tensor]:
    """All tensors of inputs or of an output, within mappings, lists and tuples too."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (Mapping, list, tuple)):
        for element in value.values() if isinstance(value, Mapping) else value:
            yield from tensors_in(element)


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

    See `tensor_of` for how it is taken from an output with several tensors.

    Raises:
        ModelError: the forward fails or gives no tensor; the message says on what and why.
    """
    with torch.inference_mode():
        return forward(model, batch).float()


def forward(model: nn.Module, batch: Batch) -> Tensor:
    """Like `run`, but with gradients if they are on."""
    chosen = compared_output(model)
    module, parts = dict(model.named_modules()).get(chosen or "?"), list[Any]()
    hook = module and module.register_forward_hook(lambda _m, _in, output: parts.append(output))
    try:
        with _branches():
            output = call(model, batch)
    # a model's forward may raise anything
    except Exception as error:
        raise ModelError(
            f"{type(model).__name__} fails on a calibration batch ({describe(batch)}): "
            f"{first_line(error)}.",
            remedy="Pass batches as the model takes them: a tensor, a tuple or a dict of keywords.",
        ) from error
    finally:
        if hook:
            hook.remove()
    if chosen:
        parts = parts[-1:] or part_of(output, chosen)
        if not parts:
            raise InputError(
                "outputs",
                got=repr(chosen),
                wanted=f"an output of {type(model).__name__}, such as heads.age, or one of its "
                "modules that returns tensors",
            )
        output = parts[0]
    compared = tensor_of(output)
    return torch.view_as_real(compared).flatten(-2) if compared.is_complex() else compared


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """While entered, the model and all its parts are in eval mode."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def call(model: nn.Module, batch: Batch) -> Any:
    """All that the model returns for a batch."""
    if isinstance(batch, Mapping):
        return model(dict(batch)) if takes_mapping(model, batch) else model(**batch)
    return model(*batch) if isinstance(batch, (list, tuple)) else model(batch)


_running, _lock = [0], Lock()


@contextmanager
def _branches() -> Iterator[None]:
    """While entered, `torch.cond` simply takes a branch.

    It would compile both, which it cannot do where calls are watched.
    """
    with _lock:
        _running[0] += 1
        vars(torch)["cond"] = _take_branch
    try:
        yield
    finally:
        with _lock:
            _running[0] -= 1
            if not _running[0]:
                vars(torch)["cond"] = _compiled_branch


_compiled_branch: Any = torch.cond


def _take_branch(pred: Any, true_fn: Any, false_fn: Any, operands: Any = ()) -> Any:
    return (true_fn if pred else false_fn)(*operands)


_COMPARED = "compared_output"


def compare_output(model: nn.Module, name: str) -> None:
    """From now on `forward` returns this output of a model or of one of its modules."""
    model.__dict__[_COMPARED] = name


def compared_output(model: nn.Module) -> str | None:
    """The name that `compare_output` set."""
    return model.__dict__.get(_COMPARED)


def part_of(output: Any, path: str) -> list[Any]:
    """The part of an output that a path such as ``heads.age`` or ``1`` names, if there is one.

    >>> part_of({"heads": [1, {"age": 2}]}, "heads.1.age"), part_of((1, 2), "name")
    ([2], [])
    """
    for name in path.split("."):
        if isinstance(output, (list, tuple)) and name.isdecimal() and int(name) < len(output):
            output = output[int(name)]
        elif name in (parts := named_of(output) or {}):
            output = parts[name]
        else:
            return []
    return [output]


_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def first_line(error: BaseException) -> str:
    """What an error of another library says, in one line without colours."""
    lines = _ESCAPES.sub("", str(error)).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".")[:300]


def in_float32(batch: Batch) -> Batch:
    """The batch with its floats in float32."""
    if isinstance(batch, Tensor):
        return batch.float() if batch.is_floating_point() else batch
    if isinstance(batch, Mapping):
        return {name: in_float32(value) for name, value in batch.items()}
    if isinstance(batch, (list, tuple)):
        return type(batch)(map(in_float32, batch))
    return batch


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
    by_name = named_of(output)
    if by_name is not None:
        return _of_named(by_name, output)
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


def _of_named(by_name: Mapping[str, Any], output: Any) -> Tensor:
    floats = {
        name: value
        for name, value in by_name.items()
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
    flat = [name for name, value in floats.items() if value.ndim == 1]
    if flat and len(floats) > 1:
        raise ModelError(
            f"The model's output {flat[0]!r} {list(floats[flat[0]].shape)} is one of several "
            f"({', '.join(floats)}) and has no last axis of features or classes to compare.",
            remedy=CHOOSE,
        )
    if floats:
        return _joined(list(floats.values()))
    nested = [value for value in by_name.values() if not isinstance(value, Tensor) and value]
    if nested:
        return tensor_of(nested[0])
    raise _no_tensor(output)


def _joined(tensors: list[Tensor]) -> Tensor:
    """Several outputs as one: vectors of equal length stacked, others joined at unit length.

    The cosine of vectors joined this way is the mean of their cosines.
    """
    if len(tensors) == 1:
        return tensors[0]
    if len({tensor.shape[-1] for tensor in tensors}) == 1:
        return torch.cat([tensor.float().flatten(0, -2) for tensor in tensors])
    units = [functional.normalize(tensor.float().flatten(1), dim=-1) for tensor in tensors]
    if len({len(tensor) for tensor in units}) == 1:
        return torch.cat(units, dim=-1)
    return torch.cat([tensor.flatten() for tensor in units])[None]


CHOOSE = (
    'Choose what is compared with Quantizer(model, …, outputs="head"): the name of an output, or '
    "of a module that returns tensors."
)


def _no_tensor(output: Any) -> ModelError:
    return ModelError(f"The model returned {type(output).__name__}, not a tensor.", remedy=CHOOSE)


Objective = Literal["kl", "cosine"]
"""``kl`` for classifiers (logits), ``cosine`` for embedders."""


def divergence(objective: Objective, original: Tensor, quantized: Tensor) -> Tensor:
    """The mean divergence over all items; a scalar ≥ 0, 0 for equal outputs."""
    if original.shape != quantized.shape:
        raise ModelError(
            f"The compared output has other shapes with other weights: {list(original.shape)} and "
            f"{list(quantized.shape)}.",
            remedy=CHOOSE,
        )
    by_name = {"kl": kl_divergence, "cosine": cosine_loss}
    return by_name[objective](original, quantized).mean()


def kl_divergence(original: Tensor, quantized: Tensor) -> Tensor:
    """KL(softmax(original) ‖ softmax(quantized)) along the last axis, in nats [n, ...]."""
    p, q = original.log_softmax(-1), quantized.log_softmax(-1)
    return (p.exp() * (p - q)).sum(-1)


def cosine_loss(original: Tensor, quantized: Tensor) -> Tensor:
    """1 − cosine along the last axis, [n, ...]."""
    return 1 - functional.cosine_similarity(original, quantized, dim=-1)

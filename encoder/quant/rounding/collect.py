"""Gram matrices of a model's layers, from calibration batches.

Importing this imports torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

import torch
from torch import Tensor, nn

from encoder.quant.layers import Layer
from encoder.quant.rounding.calls import Call, LayerCalls, rows_of
from encoder.quant.rounding.drift import Drift
from encoder.quant.rounding.gram import Gram
from encoder.quant.sensitivity.calibration import Batch, run

_MAX_BYTES = 1 << 29


class GramSum:
    """Accumulates a Gram matrix; see `rows_of` for ``times``."""

    def __init__(self, times: int = 1) -> None:
        self._times = times
        self._total: Tensor | None = None
        self._n = 0

    def add(self, call: Call) -> None:
        """Add the inputs of one call."""
        rows = rows_of(call, self._times)
        if self._total is None:
            n_groups, _, n_columns = rows.shape
            self._total = torch.zeros(n_groups, n_columns, n_columns)
        self._total.baddbmm_(rows.transpose(1, 2), rows)
        self._n += rows.shape[1]

    def mean(self) -> Gram:
        """The Gram matrix of the inputs added so far."""
        assert self._total is not None
        return Gram(self._total / max(1, self._n))


class DriftSum:
    """Accumulates a `Drift`; see `rows_of` for ``times``."""

    def __init__(self, times: int = 1) -> None:
        self._times = times
        self._cross: Tensor | None = None
        self._n = 0

    def add(self, call: Call, original: Call) -> None:
        """Add the inputs of one call, and of the same call in the original model."""
        rows, wanted = rows_of(call, self._times), rows_of(original, self._times)
        if self._cross is None:
            n_groups, _, n_columns = rows.shape
            self._cross = torch.zeros(n_groups, n_columns, n_columns)
            self._mean, self._wanted = torch.zeros(2, n_groups, n_columns)
        self._cross.baddbmm_((wanted - rows).transpose(1, 2), rows)
        self._mean += rows.sum(1)
        self._wanted += wanted.sum(1)
        self._n += rows.shape[1]

    def mean(self) -> Drift:
        """The means over the inputs added so far."""
        assert self._cross is not None
        n = max(1, self._n)
        return Drift(self._cross / n, self._wanted / n, self._mean / n)


class _Enough(BaseException):
    """Ends a forward whose rest is not needed; no ``except Exception`` of a model stops it."""


def grams(
    model: nn.Module,
    layers: Mapping[str, Layer],
    batches: Sequence[Batch],
    max_bytes: int = _MAX_BYTES,
) -> Iterator[dict[str, Gram]]:
    """Gram matrices of the layers' inputs, some layers at a time.

    Layers with the very same input (query, key, value) share one `Gram` object, and thus its
    factor. In each pass over the batches, a forward ends at the last layer of the pass.

    Args:
        model: in eval mode.
        layers: of the model; those that the forward never calls are left out.
        batches: calibration inputs.
        max_bytes: memory for the matrices of one pass; a layer that needs more has its own pass.

    Yields:
        Gram matrices by layer name, in the order of execution.
    """
    if not batches:
        return
    if sum(map(_gram_bytes, layers.values())) <= max_bytes:
        yield _collect(model, layers.values(), batches, last="")
        return
    for names in _shares(execution_order(model, layers, batches[0]), layers, max_bytes):
        yield _collect(model, [layers[name] for name in names], batches, last=names[-1])


def _gram_bytes(layer: Layer) -> int:
    return 4 * layer.n_conv_groups * layer.n_columns**2


def execution_order(model: nn.Module, layers: Mapping[str, Layer], batch: Batch) -> list[str]:
    """Names of the layers that a forward calls as linear maps or convolutions, in that order."""
    seen: dict[str, None] = {}

    def note(call: Call) -> None:
        seen[call.layer.name] = None

    with LayerCalls(layers.values(), note):
        run(model, batch)
    return list(seen)


def _shares(
    names: Sequence[str], layers: Mapping[str, Layer], max_bytes: int
) -> Iterator[list[str]]:
    share: list[str] = []
    held = 0
    for name in names:
        size = _gram_bytes(layers[name])
        if share and held + size > max_bytes:
            yield share
            share, held = [], 0
        share.append(name)
        held += size
    if share:
        yield share


def _collect(
    model: nn.Module, layers: Iterable[Layer], batches: Sequence[Batch], last: str
) -> dict[str, Gram]:
    """Gram matrices by name; a forward ends once the layer ``last`` has been called."""
    sums: dict[str, GramSum] = {}
    owners: dict[str, str] = {}
    before: list[Call] = []

    def add(call: Call) -> None:
        name = call.layer.name
        shares = bool(before) and same_input(before[0], call)
        owner = owners.setdefault(name, owners[before[0].layer.name] if shares else name)
        if owner == name:
            sums.setdefault(name, GramSum()).add(call)
        before[:] = [call]
        if name == last:
            raise _Enough

    for batch in batches:
        with suppress(_Enough), LayerCalls(layers, add):
            run(model, batch)
        before.clear()
    means = {name: total.mean() for name, total in sums.items()}
    return {name: means[owner] for name, owner in owners.items()}


def same_input(one: Call, other: Call) -> bool:
    """Whether two linear layers were given the very same tensors."""
    if "conv" in (one.layer.kind, other.layer.kind) or len(one.inputs) != len(other.inputs):
        return False
    return all(a is b for a, b in zip(one.inputs, other.inputs, strict=True))

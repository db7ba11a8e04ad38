"""What a model's layers are called with: the Gram matrices of their inputs.

Importing this imports torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from encoder.quant.calibration import Batch, run
from encoder.quant.layers import Layer
from encoder.quant.uses import Calls, Product, product_calls, storage_of

_MIN_ROWS, _ROWS_PER_COLUMN = 512, 4
"""The most inputs of a layer that one batch gives: the larger of the two."""


@dataclass(frozen=True, eq=False)
class LayerCall:
    """One call of a layer.

    Args:
        layer: the layer whose weight is used.
        inputs: what the weight is applied to; for attention the query, key and value.
        options: stride, padding and dilation of a convolution; and ``bias``.
    """

    layer: Layer
    inputs: tuple[Tensor, ...]
    options: Mapping[str, Any]


def layer_calls(layers: Iterable[Layer], on_call: Callable[[LayerCall], None]) -> Calls:
    """While entered, calls ``on_call`` for each product with a whole weight of these layers.

    Calls whose rows are not all multiplied by the same, as those of some experts, are left out.

    """
    weights = [(layer, layer.weight) for layer in layers]
    watched = {weight.data_ptr(): (layer, weight.numel()) for layer, weight in weights}

    def on_product(product: Product) -> None:
        address = product.weight.data_ptr() if storage_of(product.weight) else 0
        layer, n_values = watched.get(address, (None, 0))
        if layer and product.inputs and product.weight.numel() == n_values:
            call = LayerCall(layer, product.inputs, product.options)
            if _fit(call):
                on_call(call)

    return product_calls(on_product)


def _fit(call: LayerCall) -> bool:
    """Whether the inputs have as many channels as the weight takes; if not, the call will fail."""
    kernel = call.layer.weight.shape[2:] if call.layer.kind == "conv" else torch.Size()
    n_axes = len(kernel)
    n_channels = call.layer.n_columns // kernel.numel() * call.layer.n_conv_groups
    return all(x.ndim > n_axes and x.shape[-1 - n_axes] == n_channels for x in call.inputs)


def rows_of(call: LayerCall) -> Tensor:
    """What the weight's rows are multiplied by, float32 [n_conv_groups, n, n_columns].

    A batch with very many rows, such as the pixels of large pictures, is sampled at even steps,
    since neighbours are similar.
    """
    n_wanted = max(_MIN_ROWS, _ROWS_PER_COLUMN * call.layer.n_columns)
    if call.layer.kind == "conv":
        return _patches(call, n_wanted)
    flat = [x.detach().reshape(-1, x.shape[-1]) for x in call.inputs]
    return torch.cat([x[:: max(1, -(-len(x) // n_wanted))] for x in flat]).float().unsqueeze(0)


def _patches(call: LayerCall, n_wanted: int) -> Tensor:
    """What each filter sees at some of its places, [n_conv_groups, n_patches, n_columns]."""
    kernel = call.layer.weight.shape[2:]
    n_axes = len(kernel)
    stride = _each(call.options.get("stride", 1), n_axes)
    dilation = _each(call.options.get("dilation", 1), n_axes)
    x = call.inputs[0].detach()
    if x.ndim == n_axes + 1:
        x = x.unsqueeze(0)
    x = _padded(x, kernel, dilation, call.options.get("padding", 0))
    windows = _windows(x, kernel, stride, dilation)
    places = windows.shape[2 : 2 + n_axes]
    every = math.ceil((len(x) * places.numel() / n_wanted) ** (1 / n_axes))
    thin = [slice(min(every, size) // 2, None, every) for size in places]
    patches = windows[(slice(None), slice(None), *thin)].flatten(2, 1 + n_axes)
    n_groups = call.layer.n_conv_groups
    shape = (len(x), n_groups, -1, patches.shape[2], kernel.numel())
    by_group = patches.float().reshape(shape).permute(1, 0, 3, 2, 4)
    return by_group.reshape(n_groups, -1, call.layer.n_columns)


def _each(value: Any, n_axes: int) -> tuple[int, ...]:
    return (value,) * n_axes if isinstance(value, int) else tuple(value)


def _padded(x: Tensor, kernel: Sequence[int], dilation: Sequence[int], padding: Any) -> Tensor:
    if padding == "valid":
        return x
    if padding == "same":
        totals = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        sides = [(total // 2, total - total // 2) for total in totals]
    else:
        sides = [(p, p) for p in _each(padding, len(kernel))]
    if not any(map(any, sides)):
        return x
    return functional.pad(x, [side for pair in reversed(sides) for side in pair])


def _windows(
    x: Tensor, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> Tensor:
    """A view of x [n, channels, *places] as [n, channels, *windows, *kernel]; copies nothing."""
    axes = range(len(kernel))
    counts = [(x.shape[2 + i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1 for i in axes]
    steps = x.stride()
    over = [steps[2 + i] * stride[i] for i in axes]
    within = [steps[2 + i] * dilation[i] for i in axes]
    return x.as_strided((*x.shape[:2], *counts, *kernel), (*steps[:2], *over, *within))


_SHRINKAGE, _DAMPING = 0.05, 0.01
"""How far to shrink towards the diagonal, as what few inputs show about pairs of columns is partly
noise (Ledoit & Wolf, 2004); and what is added to the diagonal, as a share of its mean. Among .0 to
.1 and .001 to .03, these gave the least error on held-out inputs, by a little."""

_MORE_DAMPING = (0, 10, 100)
"""Multiples of the damping to add where a Cholesky factorization fails."""


@dataclass(frozen=True, eq=False)
class Gram:
    """The mean over a layer's inputs of x xᵀ; a convolution's input is a patch.

    Args:
        values: float32 [n_conv_groups, n_columns, n_columns].
        mean: of x, [n_conv_groups, n_columns]; None where it is not known.
    """

    values: Tensor
    mean: Tensor | None = None

    @cached_property
    def diagonal(self) -> Tensor:
        """The mean square of each column, [n_conv_groups, n_columns]."""
        return self.values.diagonal(dim1=1, dim2=2)

    def importance(self, n_rows: int) -> Tensor:
        """The damped mean square of each column, row by row: [1 or n_rows, n_columns]."""
        damped = self.diagonal + self._floor.squeeze(2)
        n_groups = damped.shape[0]
        return damped if n_groups == 1 else damped.repeat_interleave(n_rows // n_groups, dim=0)

    @property
    def _floor(self) -> Tensor:
        return self.diagonal.mean(1)[:, None, None].clamp_min(1e-12) * _DAMPING

    @cached_property
    def order(self) -> Tensor:
        """Columns by falling mean square, [n_conv_groups, n_columns] (GPTQ's act-order)."""
        return self.diagonal.argsort(dim=1, descending=True, stable=True)

    @cached_property
    def stable(self) -> Tensor:
        """The Gram matrix, shrunk and damped, in the columns' own order."""
        shrunk = self.values * (1 - _SHRINKAGE)
        extra = self.diagonal * _SHRINKAGE + self._floor.squeeze(2)
        return shrunk + torch.diag_embed(extra)

    @cached_property
    def sorted(self) -> Tensor:
        """`stable`, rows and columns in `order`."""
        rows = self.order.unsqueeze(2).expand_as(self.values)
        return self.stable.gather(1, rows).gather(2, rows.transpose(1, 2))

    @cached_property
    def factor(self) -> Tensor | None:
        """Upper triangular U with UᵀU the inverse of `stable`, rows and columns in `order`.

        All bit widths share it. None where no damping makes the matrix positive definite.
        """
        for extra in _MORE_DAMPING:
            factor = _inverse_factor(self.sorted + _eye(self.values) * self._floor * extra)
            if factor is not None:
                return factor
        return None


def _inverse_factor(matrix: Tensor) -> Tensor | None:
    """Upper U with UᵀU = matrix⁻¹, by one Cholesky in reversed order; None if it fails.

    With the order reversed, matrix = V Vᵀ for an upper V, so U = V⁻¹: no inverse is formed.
    """
    lower, failed = torch.linalg.cholesky_ex(matrix.flip(1, 2))
    if failed.any() or not torch.isfinite(lower).all():
        return None
    upper = lower.flip(1, 2)
    identity = _eye(matrix).expand_as(matrix)
    inverse: Tensor = torch.linalg.solve_triangular(upper, identity, upper=True)
    return inverse


def _eye(matrix: Tensor) -> Tensor:
    return torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)


def to_columns(rows: Tensor, gram: Gram) -> Tensor:
    """Rows [n_rows, n_columns] as [n_conv_groups, n_columns in act-order, rows of a group]."""
    n_groups, n_columns = gram.order.shape
    columns = rows.view(n_groups, -1, n_columns).transpose(1, 2)
    return columns.gather(1, gram.order.unsqueeze(2).expand_as(columns))


def to_rows(columns: Tensor, gram: Gram) -> Tensor:
    """Undo `to_columns`."""
    order = gram.order.unsqueeze(2).expand_as(columns)
    unsorted = torch.empty_like(columns).scatter_(1, order, columns)
    return unsorted.transpose(1, 2).reshape(-1, columns.shape[1])


_MAX_BYTES = 1 << 29


class _GramSum:
    """Accumulates a Gram matrix."""

    def __init__(self, layer: Layer) -> None:
        n_groups, n_columns = layer.n_conv_groups, layer.n_columns
        self._total = torch.zeros(n_groups, n_columns, n_columns)
        self._sum = torch.zeros(n_groups, n_columns)
        self._n = 0

    def add(self, call: LayerCall) -> None:
        """Add the inputs of one call."""
        rows = rows_of(call)
        self._total.baddbmm_(rows.transpose(1, 2), rows)
        self._sum += rows.sum(1)
        self._n += rows.shape[1]

    def mean(self) -> Gram:
        """The Gram matrix of the inputs added so far."""
        return Gram(self._total / self._n, self._sum / self._n)


def grams(
    model: nn.Module,
    layers: Mapping[str, Layer],
    batches: Sequence[Batch],
    max_bytes: int = _MAX_BYTES,
) -> Iterator[dict[str, Gram]]:
    """Gram matrices of the layers' inputs, some layers at a time.

    Layers with the very same input (query, key, value) share one `Gram` object, and thus its
    factor.

    Yields:
        Gram matrices by layer name, in the order of execution.
    """
    if not batches:
        return
    in_order = dict.fromkeys([*execution_order(model, layers, batches[0]), *layers])
    for names in _shares(list(in_order), layers, max_bytes):
        yield _collect(model, [layers[name] for name in names], batches)


def _gram_bytes(layer: Layer) -> int:
    return 4 * layer.n_conv_groups * layer.n_columns**2


def execution_order(model: nn.Module, layers: Mapping[str, Layer], batch: Batch) -> list[str]:
    """Names of the layers that a forward calls as linear maps or convolutions, in that order."""
    names: dict[str, None] = {}
    with layer_calls(layers.values(), lambda call: names.setdefault(call.layer.name)):
        run(model, batch)
    return list(names)


def _shares(
    names: Sequence[str], layers: Mapping[str, Layer], max_bytes: int
) -> Iterator[list[str]]:
    share: list[str] = []
    n_bytes = 0
    for name in names:
        size = _gram_bytes(layers[name])
        if share and n_bytes + size > max_bytes:
            yield share
            share, n_bytes = [], 0
        share.append(name)
        n_bytes += size
    if share:
        yield share


def _collect(
    model: nn.Module, layers: Sequence[Layer], batches: Sequence[Batch]
) -> dict[str, Gram]:
    sums: dict[str, _GramSum] = {}
    owners: dict[str, str] = {}
    previous: list[LayerCall] = []

    def add(call: LayerCall) -> None:
        name = call.layer.name
        shares = bool(previous) and same_input(previous[0], call)
        owner = owners.setdefault(name, owners[previous[0].layer.name] if shares else name)
        if owner == name:
            sums.setdefault(name, _GramSum(call.layer)).add(call)
        previous[:] = [call]

    for batch in batches:
        previous.clear()
        with layer_calls(layers, add):
            run(model, batch)
    means = {name: total.mean() for name, total in sums.items()}
    return {name: means[owner] for name, owner in owners.items()}


def same_input(first: LayerCall, second: LayerCall) -> bool:
    """Whether two linear layers were given the very same tensors."""
    if "conv" in (first.layer.kind, second.layer.kind) or len(first.inputs) != len(second.inputs):
        return False
    return all(a is b for a, b in zip(first.inputs, second.inputs, strict=True))

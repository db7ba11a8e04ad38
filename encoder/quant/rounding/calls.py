"""Watch what a model's layers are actually called with.

Importing this imports torch.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from encoder.quant.layers import Layer

_LINEAR = ("input", "weight", "bias")
_CONV = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_GPT2 = ("bias", "input", "weight")
_ATTENTION = tuple(inspect.signature(functional.multi_head_attention_forward).parameters)
_ARGUMENTS: dict[Any, Sequence[str]] = {
    functional.linear: _LINEAR,
    functional.conv1d: _CONV,
    functional.conv2d: _CONV,
    functional.conv3d: _CONV,
    functional.multi_head_attention_forward: _ATTENTION,
    torch.addmm: _GPT2,
}

_MIN_ROWS, _ROWS_PER_COLUMN = 512, 4
"""The most inputs of a layer that one batch gives: the larger of the two."""


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a layer.

    Args:
        layer: the layer whose weight is used.
        inputs: what the weight is applied to; for attention the query, key and value.
        options: stride, padding and dilation of a convolution.
    """

    layer: Layer
    inputs: tuple[Tensor, ...]
    options: Mapping[str, Any]


OnCall = Callable[[Call], Tensor | None]
"""Called on each call; may return a different weight to use instead."""


class LayerCalls(TorchFunctionMode):
    """While entered, calls ``on_call`` for each linear map, convolution and attention.

    Functions are watched, not modules, so a module that pads its input or calls the function
    itself is seen too. Calls are recognised by their weight, which is a layer's own parameter.

    Args:
        layers: to watch for; one that no longer holds its parameter is not seen.
        on_call: see `OnCall`.
    """

    def __init__(self, layers: Iterable[Layer], on_call: OnCall) -> None:
        super().__init__()
        self._layers = {id(layer.weight): (layer, layer.weight) for layer in layers}
        self._on_call = on_call

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = dict(kwargs or {})
        if func in _ARGUMENTS:
            named |= dict(zip(_ARGUMENTS[func], args, strict=False))
            name = "in_proj_weight" if "in_proj_weight" in named else "weight"
            layer, weight = self._layers.get(id(named.get(name)), (None, None))
            call = Call(layer, _inputs(named), named) if layer else None
            if call and weight is named[name] and _fit(call):
                other = self._on_call(call)
                if other is not None:
                    args = [other if value is weight else value for value in args]
                    kwargs = {k: other if v is weight else v for k, v in (kwargs or {}).items()}
        return func(*args, **(kwargs or {}))


def _inputs(named: Mapping[str, Any]) -> tuple[Tensor, ...]:
    if "input" in named:
        return (named["input"],)
    distinct = {id(named[name]): named[name] for name in ("query", "key", "value")}
    return tuple(distinct.values())


def _fit(call: Call) -> bool:
    """Whether the inputs have as many channels as the weight takes; if not, the call will fail."""
    kernel = call.layer.weight.shape[2:]
    n_axes = len(kernel)
    n_channels = call.layer.n_columns // kernel.numel() * call.layer.n_conv_groups
    return all(x.ndim > n_axes and x.shape[-1 - n_axes] == n_channels for x in call.inputs)


def rows_of(call: Call, times: int = 1) -> Tensor:
    """What the weight's rows are multiplied by, float32 [n_conv_groups, n, n_columns].

    A batch with very many rows, such as the pixels of large pictures, is sampled at even steps,
    since neighbours are similar. ``times`` as many are taken where a batch represents others.
    """
    n_wanted = times * max(_MIN_ROWS, _ROWS_PER_COLUMN * call.layer.n_columns)
    if call.layer.kind == "conv":
        return _patches(call, n_wanted)
    flat = [x.detach().reshape(-1, x.shape[-1]) for x in call.inputs]
    return torch.cat([x[:: max(1, -(-len(x) // n_wanted))] for x in flat]).float().unsqueeze(0)


def _patches(call: Call, n_wanted: int) -> Tensor:
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

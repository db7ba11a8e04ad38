"""Which layers of a model can be quantized, and how one is swapped for its quantized form.

Importing this imports torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from encoder.errors import InputError
from encoder.quant.schemes import Scheme
from encoder.quant.weights import PackedWeight

KINDS: dict[type[nn.Module], tuple[str, str]] = {
    nn.Linear: ("linear", "weight"),
    nn.Conv1d: ("conv", "weight"),
    nn.Conv2d: ("conv", "weight"),
    nn.Conv3d: ("conv", "weight"),
    nn.Embedding: ("embedding", "weight"),
    nn.MultiheadAttention: ("linear", "in_proj_weight"),
}
"""Supported modules (subclasses too): their kind, and the parameter that is quantized."""


@dataclass(frozen=True, eq=False)
class Layer:
    """One weight that can be quantized, seen as rows: an output channel each.

    Args:
        name: of the module in its model.
        module: the module that owns the weight.
        kind: ``linear``, ``conv`` or ``embedding``.
        parameter: the weight's name in the module.
        aliases: names of further modules that hold the very same weight (tied).
    """

    name: str
    module: nn.Module
    kind: str
    parameter: str
    aliases: tuple[str, ...] = ()

    @property
    def weight(self) -> Tensor:
        """The weight as the module sees it, float."""
        return cast(Tensor, getattr(self.module, self.parameter))

    @property
    def n_rows(self) -> int:
        """Output channels, or tokens of an embedding."""
        return self.weight.shape[0]

    @property
    def n_columns(self) -> int:
        """Values in a row."""
        return self.weight[0].numel()

    @property
    def n_conv_groups(self) -> int:
        """Rows are split evenly into this many groups, each with its own inputs."""
        return int(getattr(self.module, "groups", 1)) if self.kind == "conv" else 1

    def rows(self) -> Tensor:
        """The weight as float32 rows [n_rows, n_columns], detached."""
        return self.weight.detach().float().flatten(1)

    def nbytes(self, scheme: Scheme) -> int:
        """Bytes of the weight in ``scheme``, scales counted."""
        return scheme.nbytes(self.n_rows, self.n_columns)


def find_layers(model: nn.Module) -> dict[str, Layer]:
    """The layers that can be quantized, by name, in the order of registration; tied ones once.

    Raises:
        InputError: a weight holds NaN or infinity.
    """
    owners: dict[int, list[tuple[str, nn.Module, str, str]]] = {}
    for name, module in model.named_modules():
        if kind := kind_of(module):
            weight = getattr(module, kind[1])
            if isinstance(weight, nn.Parameter):
                _check_finite(f"{name}.{kind[1]}", weight)
                owners.setdefault(id(weight), []).append((name, module, *kind))
    return {
        first[0]: Layer(*first, aliases=tuple(name for name, *_ in others))
        for first, *others in owners.values()
    }


def some_layers(model: nn.Module) -> dict[str, Layer]:
    """As `find_layers`, and at least one.

    Raises:
        InputError: there is none, or a weight holds NaN or infinity.
    """
    if layers := find_layers(model):
        return layers
    raise InputError(
        "model",
        got=f"{type(model).__name__} without a layer that can be quantized",
        wanted="a model with Linear, Conv1d, Conv2d, Conv3d or Embedding layers",
    )


def kind_of(module: nn.Module) -> tuple[str, str] | None:
    """The kind and the weight's name of a supported module, else None."""
    return next((kind for cls, kind in KINDS.items() if isinstance(module, cls)), None)


def unsupported(model: nn.Module) -> list[str]:
    """Names of large parameters (two axes or more) that no supported layer owns: they stay FP32."""
    owned = {id(layer.weight) for layer in find_layers(model).values()}
    return [
        name
        for name, parameter in model.named_parameters()
        if parameter.ndim > 1 and min(parameter.shape) > 1 and id(parameter) not in owned
    ]


def swap(model: nn.Module, layer: Layer, weight: PackedWeight) -> None:
    """Let ``layer`` (and what is tied to it) of ``model`` run on ``weight``, in place."""
    shape = tuple(layer.weight.shape)
    for name in (layer.name, *layer.aliases):
        module = model.get_submodule(name)
        put(module, layer.parameter, weight, shape)


def put(module: nn.Module, parameter: str, weight: PackedWeight, shape: tuple[int, ...]) -> None:
    """Give a module a packed weight in the place of its parameter.

    Its class becomes a subclass in which the parameter is computed: any forward goes on to work.
    """
    base = type(module)
    delattr(module, parameter)
    module.__class__ = _quantized_class(base, parameter)
    module.register_buffer("packed", weight.packed)
    module.register_buffer("scales", weight.scales)
    cast(Any, module).parameter_name = parameter
    cast(Any, module).scheme = weight.scheme
    cast(Any, module).weight_shape = shape


class QuantizedWeight:
    """What every quantized module has beside its own class."""

    packed: Tensor
    scales: Tensor
    parameter_name: str
    scheme: Scheme
    weight_shape: tuple[int, ...]

    @property
    def packed_weight(self) -> PackedWeight:
        """The stored weight."""
        n_columns = int(torch.Size(self.weight_shape[1:]).numel())
        return PackedWeight(self.scheme, self.packed, self.scales, n_columns)

    @property
    def nbytes(self) -> int:
        """Bytes of the module: codes, scales, bias and whatever else it holds itself."""
        own = cast(nn.Module, self)
        tensors = [*own.parameters(recurse=False), *own.buffers(recurse=False)]
        return sum(tensor.nbytes for tensor in tensors)

    @property
    def average_bits(self) -> float:
        """Bits per value of weight and bias, scales counted."""
        own = cast(nn.Module, self)
        n_values = torch.Size(self.weight_shape).numel()
        n_values += sum(parameter.numel() for parameter in own.parameters(recurse=False))
        return 8 * self.nbytes / n_values


class QuantizedLookup(QuantizedWeight):
    """An embedding that dequantizes the rows that are asked for, not the table."""

    def forward(self, input_ids: Tensor) -> Tensor:
        """Look up int64 ids of any shape: float32 [*shape, embedding_dim]."""
        flat = self.packed_weight.take(input_ids.flatten()).dequantize()
        return flat.view(*input_ids.shape, self.weight_shape[1])


def quantized_modules(model: nn.Module) -> Iterator[tuple[str, QuantizedWeight]]:
    """The quantized modules of a model, by name."""
    for name, module in model.named_modules():
        if isinstance(module, QuantizedWeight):
            yield name, module


_classes: dict[tuple[type[nn.Module], str], type[nn.Module]] = {}


def _quantized_class(base: type[nn.Module], parameter: str) -> type[nn.Module]:
    if (base, parameter) not in _classes:
        _classes[base, parameter] = _make_class(base, parameter)
    return _classes[base, parameter]


def _make_class(base: type[nn.Module], parameter: str) -> type[nn.Module]:
    def computed(self: QuantizedWeight) -> Tensor:
        return self.packed_weight.dequantize().view(self.weight_shape)

    # A lookup that renormalizes or is a subclass with a forward of its own keeps its own way.
    plain = base.forward is nn.Embedding.forward
    mixin = QuantizedLookup if plain else QuantizedWeight
    return type(f"Quantized{base.__name__}", (mixin, base), {parameter: property(computed)})


def _check_finite(name: str, weight: Tensor) -> None:
    bad = int((~torch.isfinite(weight)).sum())
    if bad:
        raise InputError(
            f"model.{name}",
            got=f"{bad} of {weight.numel()} values that are NaN or infinite",
            wanted="finite weights; load the checkpoint again or train without overflow",
        )

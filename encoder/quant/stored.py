"""Modules that hold a weight in few bits: how a module is converted, and what it then holds.

Importing this imports torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn

from encoder.onnx.codes import Layout
from encoder.quant.layers import PLAIN_NAMES, Layer, name_of_layer
from encoder.quant.schemes import Scheme
from encoder.quant.weights import PackedWeight


class QuantizedWeights:
    """A base class of every quantized module, in addition to the module's original class."""

    float_class: type[nn.Module]
    stored: dict[str, tuple[Scheme, Layout]]


class QuantizedLookup(QuantizedWeights):
    """An embedding that dequantizes only the rows that are looked up, not the table."""

    def forward(self, input_ids: Tensor) -> Tensor:
        """Look up int64 ids of any shape: float32 [*shape, embedding_dim]."""
        table = StoredLayer(cast(nn.Module, self), "weight").packed_weight
        flat = table.take(input_ids.flatten()).dequantize()
        return flat.view(*input_ids.shape, table.n_columns)


class QuantizedRecurrence(QuantizedWeights):
    """An LSTM, GRU or RNN, whose forward takes all weights from one list."""

    @property
    def _flat_weights(self) -> list[Any]:
        names = cast(Any, self)._flat_weights_names
        return [getattr(self, name, None) for name in names]

    @_flat_weights.setter
    def _flat_weights(self, _weights: list[Any]) -> None:
        """Ignore what torch sets after moving or copying a module: it comes from the module."""


@dataclass(frozen=True, eq=False)
class StoredLayer:
    """One weight of a quantized module.

    Args:
        module: a module whose class is a `QuantizedWeights`.
        parameter: the parameter that the weight replaces.
    """

    module: nn.Module
    parameter: str

    @property
    def scheme(self) -> Scheme:
        """How it is stored."""
        return cast(Any, self.module).stored[self.parameter][0]  # type: ignore[no-any-return]

    @property
    def layout(self) -> Layout:
        """How its rows are laid out in the weight."""
        return cast(Any, self.module).stored[self.parameter][1]  # type: ignore[no-any-return]

    @property
    def packed(self) -> Tensor:
        """Its codes."""
        return cast(Tensor, getattr(self.module, buffers(self.parameter)[0]))

    @property
    def scales(self) -> Tensor:
        """The scales of its codes."""
        return cast(Tensor, getattr(self.module, buffers(self.parameter)[1]))

    @property
    def packed_weight(self) -> PackedWeight:
        """The stored weight."""
        return PackedWeight(self.scheme, self.packed, self.scales, self.layout.n_columns)

    def dequantize(self) -> Tensor:
        """The weight as the module sees it, float32 [*layout.shape]."""
        return self.layout.weight(self.packed_weight.dequantize())


def buffers(parameter: str) -> tuple[str, str]:
    """The names of a parameter's codes and scales in their module."""
    prefix = "" if parameter in PLAIN_NAMES else f"{parameter}_"
    return f"{prefix}packed", f"{prefix}scales"


def stored_layers(model: nn.Module) -> Iterator[tuple[str, StoredLayer]]:
    """The quantized weights of a model, by their layer's name; tied ones under each."""
    for name, stored in stored_in_modules(model):
        yield name_of_layer(name, stored.parameter), stored


def stored_in_modules(model: nn.Module) -> Iterator[tuple[str, StoredLayer]]:
    """Like `stored_layers`, but by the name of their module."""
    for name, module in model.named_modules():
        if isinstance(module, QuantizedWeights):
            quantized = cast(nn.Module, module)
            yield from ((name, StoredLayer(quantized, parameter)) for parameter in module.stored)


def swap(model: nn.Module, layer: Layer, weight: PackedWeight) -> None:
    """Let ``layer`` (and what is tied to it) of ``model`` run on ``weight``, in place."""
    for name, parameter in layer.owners:
        put(model.get_submodule(name), parameter, weight, layer.layout)


def put(module: nn.Module, parameter: str, weight: PackedWeight, layout: Layout) -> None:
    """Give a module a packed weight in place of its parameter.

    Its class becomes a subclass in which the parameter is computed, so any forward still works.
    """
    delattr(module, parameter)
    module.__dict__.pop("_flat_weights", None)
    previous: dict[str, Any] = getattr(module, "stored", {})
    module.__class__ = _quantized_class(type(module), parameter)
    for name, tensor in zip(buffers(parameter), (weight.packed, weight.scales), strict=True):
        module.register_buffer(name, tensor)
    cast(Any, module).stored = {**previous, parameter: (weight.scheme, layout)}


def take_back(stored: StoredLayer, weight: nn.Parameter) -> None:
    """Give a module a float parameter in place of a packed weight; undoes `put`."""
    module: Any = stored.module
    module.__class__ = getattr(module, "float_class", type(module))
    for name in buffers(stored.parameter):
        delattr(module, name)
    module.register_parameter(stored.parameter, weight)
    if isinstance(module, nn.RNNBase):
        names = cast(Any, module)._flat_weights_names
        module._flat_weights = [getattr(module, name, None) for name in names]


_classes: dict[tuple[type[nn.Module], str], type[nn.Module]] = {}


def _quantized_class(base: type[nn.Module], parameter: str) -> type[nn.Module]:
    def computed(self: nn.Module) -> Tensor:
        return StoredLayer(self, parameter).dequantize()

    if (base, parameter) not in _classes:
        members: dict[str, Any] = {parameter: property(computed)}
        name, bases = base.__name__, tuple[type, ...]([base])
        if not issubclass(base, QuantizedWeights):  # else it has another quantized weight
            members["float_class"] = base
            name, bases = f"Quantized{name}", (_mixin(base), base)
        _classes[base, parameter] = type(name, bases, members)
    return _classes[base, parameter]


def _mixin(base: type[nn.Module]) -> type[QuantizedWeights]:
    # A lookup that renormalizes, or a subclass with its own forward, keeps its own forward.
    if base.forward is nn.Embedding.forward:
        return QuantizedLookup
    return QuantizedRecurrence if issubclass(base, nn.RNNBase) else QuantizedWeights

"""Which weights of a model can be quantized.

Importing this imports torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from encoder.errors import InputError
from encoder.onnx.codes import Layout
from encoder.quant.calibration import Batch, run
from encoder.quant.schemes import Scheme
from encoder.quant.uses import Uses

PLAIN_NAMES = ("weight", "in_proj_weight")
"""Parameters whose layer has the name of its module."""


@dataclass(frozen=True, eq=False)
class Layer:
    """One weight that can be quantized, seen as rows: one per output channel.

    Args:
        name: of its module, or ``module.parameter``; see `PLAIN_NAMES`.
        module: the module that owns the weight.
        parameter: the weight's name in the module.
        layout: where its output channels are.
        owners: names of the modules that hold the weight, and the name that each gives it; the
            first is this module, the others are tied to it.
        only_looked_up: whether it is a table of which nothing but rows are used.
    """

    name: str
    module: nn.Module
    parameter: str
    layout: Layout
    owners: tuple[tuple[str, str], ...]
    only_looked_up: bool = False

    @property
    def kind(self) -> str:
        """See `Layout`."""
        return self.layout.kind

    @property
    def weight(self) -> Tensor:
        """The weight as the module sees it, float."""
        return cast(Tensor, getattr(self.module, self.parameter))

    @property
    def n_rows(self) -> int:
        """Output channels, or tokens of an embedding."""
        return self.layout.n_rows

    @property
    def n_columns(self) -> int:
        """Values in a row."""
        return self.layout.n_columns

    @property
    def n_conv_groups(self) -> int:
        """How many groups the rows are split into, evenly, each with its own inputs."""
        return self.layout.n_groups if self.kind == "conv" else 1

    def rows(self) -> Tensor:
        """The weight as float32 rows [n_rows, n_columns], detached."""
        return self.layout.rows(self.weight.detach().float())

    def nbytes(self, scheme: Scheme) -> int:
        """Bytes of the weight in ``scheme``, including scales."""
        return scheme.nbytes(self.n_rows, self.n_columns)

    def of(self, model: nn.Module) -> Layer:
        """The same layer of a copy of its model."""
        return replace(self, module=model.get_submodule(self.owners[0][0]))


@contextmanager
def changed(layer: Layer, weight: Tensor) -> Iterator[None]:
    """While entered, the layer (and what is tied to it) has this weight; no copy is made."""
    parameter = layer.weight
    original = parameter.data
    parameter.data = weight.to(original.dtype).view_as(original)
    try:
        yield
    finally:
        parameter.data = original


def find_layers(model: nn.Module, batch: Batch | None = None) -> dict[str, Layer]:
    """The layers that can be quantized, by name, in registration order; tied ones once.

    They are the parameters that the forward multiplies by, convolves with or looks up. One that
    it does not reach on this batch, such as an expert that nothing is routed to, is taken as one
    of the same name in a module of the same class that it does reach, and else to have its
    output channels first.

    Args:
        model: any module.
        batch: inputs to see the uses with; without them every matrix counts as not reached.

    Raises:
        InputError: a weight holds NaN or infinity.
        ModelError: the model fails on the batch.
    """
    owners = _owners(model)
    uses = _uses(model, owners, batch)
    by_class = {_class_of(model, owners[name][0]): layout for name, layout in uses.layouts.items()}
    layers = {}
    for name, places in owners.items():
        weight = model.get_parameter(name)
        layout = uses.layouts.get(name)
        if layout is None and name not in uses.seen:
            known = by_class.get(_class_of(model, places[0]))
            layout = (
                _default(weight) if known is None else replace(known, shape=tuple(weight.shape))
            )
        if layout is not None:
            _check_finite(name, weight)
            module, parameter = places[0]
            layer_name = name_of_layer(module, parameter)
            layers[layer_name] = Layer(
                layer_name, model.get_submodule(module), parameter, layout, tuple(places),
                name in uses.only_looked_up,
            )  # fmt: skip
    return layers


def _uses(model: nn.Module, names: Mapping[str, Any], batch: Batch | None) -> Uses:
    uses = Uses({name: model.get_parameter(name) for name in names})
    if batch is not None:
        with uses:
            run(model, batch)
    return uses


def _class_of(model: nn.Module, owner_and_name: tuple[str, str]) -> tuple[type[nn.Module], str]:
    return type(model.get_submodule(owner_and_name[0])), owner_and_name[1]


def _default(weight: Tensor) -> Layout | None:
    if weight.numel() <= max(weight.shape, default=1):
        return None
    return Layout(tuple(weight.shape), kind="conv" if weight.ndim > 2 else "linear")


def name_of_layer(module: str, parameter: str) -> str:
    """The name of a weight's layer."""
    return module if parameter in PLAIN_NAMES else ".".join(filter(None, (module, parameter)))


def some_layers(model: nn.Module, batch: Batch | None = None) -> dict[str, Layer]:
    """Like `find_layers`, but require at least one.

    Raises:
        InputError: there is none, or a weight holds NaN or infinity.
    """
    if layers := find_layers(model, batch):
        return layers
    raise InputError(
        "model",
        got=f"{type(model).__name__} without a layer that can be quantized",
        wanted="a model with parameters of two axes or more that its forward multiplies by, "
        "convolves with or looks up",
    )


def unsupported(model: nn.Module, layers: Mapping[str, Layer]) -> list[str]:
    """Names of large parameters (two axes or more) that no layer owns: they stay FP32."""
    owned = {id(layer.weight) for layer in layers.values()}
    return [
        name
        for name, parameter in model.named_parameters()
        if parameter.ndim > 1 and min(parameter.shape) > 1 and id(parameter) not in owned
    ]


def _owners(model: nn.Module) -> dict[str, list[tuple[str, str]]]:
    """The modules of each float matrix and its name in each, by its first full name."""
    names: dict[int, str] = {}
    owners: dict[str, list[tuple[str, str]]] = {}
    for name, module in model.named_modules():
        for attribute, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            if parameter.ndim > 1 and parameter.is_floating_point():
                full = names.setdefault(id(parameter), ".".join(filter(None, (name, attribute))))
                owners.setdefault(full, []).append((name, attribute))
    return owners


def _check_finite(name: str, weight: Tensor) -> None:
    bad = int((~torch.isfinite(weight)).sum())
    if bad:
        raise InputError(
            f"model.{name}",
            got=f"{bad} of {weight.numel()} values that are NaN or infinite",
            wanted="finite weights; load the checkpoint again or train without overflow",
        )

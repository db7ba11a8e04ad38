"""Which weights of a model can be quantized.

Importing this imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from encoder.errors import InputError
from encoder.quant.schemes import Scheme

KINDS: dict[type[nn.Module], str] = {
    nn.Linear: "linear",
    nn.Conv1d: "conv",
    nn.Conv2d: "conv",
    nn.Conv3d: "conv",
    nn.ConvTranspose1d: "transposed",
    nn.ConvTranspose2d: "transposed",
    nn.ConvTranspose3d: "transposed",
    nn.Embedding: "embedding",
    nn.EmbeddingBag: "embedding",
    nn.MultiheadAttention: "linear",
    nn.Bilinear: "bilinear",
    nn.RNNBase: "recurrent",
    nn.RNNCellBase: "recurrent",
}
"""Supported modules (subclasses too), and what kind of layer each weight of theirs is."""

_GPT2_LINEAR = "transformers.pytorch_utils.Conv1D"
"""A linear layer with its weight as [inputs, outputs]; matched by name, which needs no import."""


@dataclass(frozen=True, eq=False)
class Layer:
    """One weight that can be quantized, seen as rows: one per output channel.

    Args:
        name: of its module, or ``module.parameter`` where a module has several weights.
        module: the module that owns the weight.
        kind: see `KINDS`.
        parameter: the weight's name in the module.
        layout: where its output channels are.
        owners: names of the modules that hold the weight, and the name that each gives it; the
            first is this module, the others are tied to it.
    """

    name: str
    module: nn.Module
    kind: str
    parameter: str
    layout: Layout
    owners: tuple[tuple[str, str], ...]

    @property
    def aliases(self) -> tuple[str, ...]:
        """Names of the other modules that hold the very same weight."""
        return tuple(name for name, _ in self.owners[1:])

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
        return int(getattr(self.module, "groups", 1)) if self.kind == "conv" else 1

    def rows(self) -> Tensor:
        """The weight as float32 rows [n_rows, n_columns], detached."""
        return self.layout.rows(self.weight.detach().float())

    def nbytes(self, scheme: Scheme) -> int:
        """Bytes of the weight in ``scheme``, including scales."""
        return scheme.nbytes(self.n_rows, self.n_columns)


def find_layers(model: nn.Module) -> dict[str, Layer]:
    """The layers that can be quantized, by name, in registration order; tied ones once.

    Raises:
        InputError: a weight holds NaN or infinity.
    """
    owners = _owners(model)
    layers: dict[int, Layer] = {}
    for name, module in model.named_modules():
        parameters = _weights_of(module)
        for parameter in parameters:
            weight = module._parameters.get(parameter)  # None if it is computed
            if weight is None or id(weight) in layers:
                continue
            _check_finite(f"{name}.{parameter}", weight)
            owner = (name, parameter)
            tied = [each for each in owners[id(weight)] if each != owner]
            layers[id(weight)] = Layer(
                layer_name(name, parameter, several=len(parameters) > 1),
                module,
                kind_of(module) or "",
                parameter,
                _layout(module, weight),
                (owner, *tied),
            )
    return {layer.name: layer for layer in layers.values()}


def layer_name(module: str, parameter: str, *, several: bool) -> str:
    """The name of a weight's layer."""
    return ".".join(filter(None, (module, parameter))) if several else module


def some_layers(model: nn.Module) -> dict[str, Layer]:
    """Like `find_layers`, but require at least one.

    Raises:
        InputError: there is none, or a weight holds NaN or infinity.
    """
    if layers := find_layers(model):
        return layers
    names = [layer_class.__name__ for layer_class in KINDS if layer_class.__name__[-4:] != "Base"]
    raise InputError(
        "model",
        got=f"{type(model).__name__} without a layer that can be quantized",
        wanted=f"a model with layers such as {', '.join(names)}, LSTM or GRU",
    )


def kind_of(module: nn.Module) -> str | None:
    """The kind of a supported module's layers, else None."""
    if _is_gpt2_linear(module):
        return "linear"
    return next((operation for cls, operation in KINDS.items() if isinstance(module, cls)), None)


def unsupported(model: nn.Module) -> list[str]:
    """Names of large parameters (two axes or more) that no supported layer owns: they stay FP32."""
    owned = {id(layer.weight) for layer in find_layers(model).values()}
    return [
        name
        for name, parameter in model.named_parameters()
        if parameter.ndim > 1 and min(parameter.shape) > 1 and id(parameter) not in owned
    ]


def _owners(model: nn.Module) -> dict[int, list[tuple[str, str]]]:
    """Each parameter's modules and names, by its id; modules without a kind included."""
    owners: dict[int, list[tuple[str, str]]] = {}
    for name, module in model.named_modules():
        for attribute, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            owners.setdefault(id(parameter), []).append((name, attribute))
    return owners


def _weights_of(module: nn.Module) -> list[str]:
    """Names of a module's weights, computed ones too; none if it is not supported."""
    operation = kind_of(module)
    if operation is None:
        return []
    if operation == "recurrent":
        parameters = dict(module.named_parameters(recurse=False))
        return [name for name in parameters if name.startswith("weight")]
    if isinstance(module, nn.MultiheadAttention):
        if getattr(module, "_qkv_same_embed_dim", True):
            return ["in_proj_weight"]
        return ["q_proj_weight", "k_proj_weight", "v_proj_weight"]
    return ["weight"]


def _layout(module: nn.Module, weight: Tensor) -> Layout:
    shape = tuple(weight.shape)
    if kind_of(module) == "transposed":
        return Layout(shape, axis=1, n_groups=cast(Any, module).groups)
    return Layout(shape, axis=1 if _is_gpt2_linear(module) else 0)


def _is_gpt2_linear(module: nn.Module) -> bool:
    names = {f"{cls.__module__}.{cls.__qualname__}" for cls in type(module).__mro__}
    return _GPT2_LINEAR in names


def _check_finite(name: str, weight: Tensor) -> None:
    bad = int((~torch.isfinite(weight)).sum())
    if bad:
        raise InputError(
            f"model.{name}",
            got=f"{bad} of {weight.numel()} values that are NaN or infinite",
            wanted="finite weights; load the checkpoint again or train without overflow",
        )


@dataclass(frozen=True)
class Layout:
    """Where a weight has its output channels.

    Args:
        shape: of the weight.
        axis: of its output channels: 0 as in a linear layer or convolution, 1 as in a transposed
            convolution ([inputs, outputs / n_groups, *kernel]) or in GPT-2's [inputs, outputs].
        n_groups: groups into which a transposed convolution splits its inputs and outputs.

    >>> import torch
    >>> layout = Layout((4, 3, 5), axis=1, n_groups=2)
    >>> weight = torch.arange(60.0).view(4, 3, 5)
    >>> layout.rows(weight).shape, bool((layout.weight(layout.rows(weight)) == weight).all())
    (torch.Size([6, 10]), True)
    """

    shape: tuple[int, ...]
    axis: int = 0
    n_groups: int = 1

    @property
    def n_rows(self) -> int:
        """Output channels."""
        return self.shape[0] if self.axis == 0 else self.shape[1] * self.n_groups

    @property
    def n_columns(self) -> int:
        """Values in a row."""
        n_values = 1
        for size in self.shape:
            n_values *= size
        return n_values // self.n_rows

    def rows(self, weight: Tensor) -> Tensor:
        """A weight [*shape] as [n_rows, n_columns]."""
        if self.axis == 0:
            return weight.flatten(1)
        grouped = weight.unflatten(0, (self.n_groups, -1))
        rows: Tensor = grouped.transpose(1, 2).flatten(0, 1).flatten(1)
        return rows

    def weight(self, rows: Tensor) -> Tensor:
        """Undo `rows`."""
        if self.axis == 0:
            return rows.view(self.shape)
        grouped = rows.view(*self.grouped)
        return grouped.transpose(1, 2).reshape(self.shape)

    @property
    def grouped(self) -> tuple[int, ...]:
        """The shape with separate axes for groups, inputs and outputs; for axis 1 only."""
        n_inputs = self.shape[0] // self.n_groups
        return (self.n_groups, self.shape[1], n_inputs, *self.shape[2:])

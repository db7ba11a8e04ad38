"""Batch norms folded into the layers before them: the same function in fewer bytes.

Importing this imports torch.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.overrides import TorchFunctionMode

from encoder.quant.calibration import Batch, run

_MAX_CHANGE = 1e-3
_SHAPE_READERS = {"__get__", "dim", "size", "numel", "is_floating_point", "is_complex"}
"""Functions that read a tensor's shape or kind, not its values."""


def find_folds(model: nn.Module, batch: Batch) -> dict[str, str]:
    """Which batch norms can be folded into which layers, as seen in one forward.

    A norm can be folded if its input is the output of a convolution or linear layer that nothing
    else reads, and both run once.

    Returns:
        Layer names, by the name of their norm.
    """
    watch = _Watch(model)
    with watch:
        run(model, batch)
    return watch.folds()


def fold(model: nn.Module, folds: Mapping[str, str]) -> None:
    """Fold norms into layers, in place: the norm becomes an identity, the layer gets a bias."""
    for norm_name, layer_name in folds.items():
        layer: Any = model.get_submodule(layer_name)
        norm: Any = model.get_submodule(norm_name)
        layer.weight, layer.bias = fuse_conv_bn_weights(
            layer.weight, layer.bias, norm.running_mean, norm.running_var,
            norm.eps, norm.weight, norm.bias,
        )  # fmt: skip
        parent, _, leaf = norm_name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, nn.Identity())


class _Watch(TorchFunctionMode):
    """Notes which layer made each norm's input, and how often an output is read."""

    _LAYERS = (functional.linear, functional.conv1d, functional.conv2d, functional.conv3d)

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        modules = dict(model.named_modules())
        kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
        self._layers = {id(m.weight): name for name, m in modules.items() if isinstance(m, kinds)}
        self._norms = {
            id(m.running_mean): name
            for name, m in modules.items()
            if isinstance(m, _BatchNorm) and m.running_mean is not None
        }
        self._outputs: dict[int, tuple[str, Tensor]] = {}
        self._reads: dict[str, int] = {}
        self._calls: dict[str, int] = {}
        self._pairs: dict[str, str] = {}

    def folds(self) -> dict[str, str]:
        """The folds that were seen to be safe."""
        return {
            norm: layer
            for norm, layer in self._pairs.items()
            if self._reads[layer] == self._calls[layer] == self._calls[norm] == 1
        }

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        keywords = kwargs or {}
        values = [*args, *keywords.values()]
        if getattr(func, "__name__", "") not in _SHAPE_READERS:
            for value in values:
                if id(value) in self._outputs:
                    layer = self._outputs[id(value)][0]
                    self._reads[layer] = self._reads.get(layer, 0) + 1
        result = func(*args, **keywords)
        if func in self._LAYERS:
            self._note_layer(values, result)
        elif func in (functional.batch_norm, torch.batch_norm):
            self._note_norm(values)
        return result

    def _note_layer(self, values: Sequence[Any], result: Any) -> None:
        for name in filter(None, (self._layers.get(id(value)) for value in values)):
            self._calls[name] = self._calls.get(name, 0) + 1
            self._outputs[id(result)] = (name, result)

    def _note_norm(self, values: Sequence[Any]) -> None:
        for norm in filter(None, (self._norms.get(id(value)) for value in values)):
            self._calls[norm] = self._calls.get(norm, 0) + 1
            if id(values[0]) in self._outputs:
                self._pairs[norm] = self._outputs[id(values[0])][0]


def folded(model: nn.Module, batch: Batch) -> tuple[nn.Module, dict[str, str]]:
    """A copy with all foldable norms folded, if its output stays the same; and the folds.

    Without such norms it is the model itself.
    """
    folds = find_folds(model, batch)
    if not folds:
        return model, {}
    copied = copy.deepcopy(model)
    fold(copied, folds)
    original, after = run(model, batch), run(copied, batch)
    if (after - original).abs().max() > _MAX_CHANGE * original.abs().max():
        return model, {}
    return copied, folds

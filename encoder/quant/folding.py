"""Batch norms folded into the layers before them: the same function in fewer bytes.

Importing this imports torch.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

from encoder.quant.calibration import Batch, run

_MAX_CHANGE = 1e-3
_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def find_folds(model: nn.Module, batch: Batch) -> dict[str, str]:
    """The layer that made each batch norm's input, where both run once in a forward, by name."""
    makers: dict[int, tuple[str, Tensor]] = {}
    folds: dict[str, str] = {}
    n_calls = Counter[str]()

    def watch(name: str, module: nn.Module) -> Any:
        def note(_module: nn.Module, inputs: Any, output: Any) -> None:
            n_calls[name] += 1
            if isinstance(module, _LAYERS):
                makers[id(output)] = name, output
            elif module.running_mean is not None and id(inputs[0]) in makers:
                folds[name] = makers[id(inputs[0])][0]

        return module.register_forward_hook(note)

    kinds = (*_LAYERS, _BatchNorm)
    hooks = [watch(name, x) for name, x in model.named_modules() if isinstance(x, kinds)]
    run(model, batch)
    for hook in hooks:
        hook.remove()
    return {norm: x for norm, x in folds.items() if n_calls[norm] == n_calls[x] == 1}


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


def folded(model: nn.Module, batch: Batch) -> tuple[nn.Module, dict[str, str]]:
    """A copy with the norms folded that leave its output the same; and the folds.

    An output that something else reads too changes: then each norm is tried alone.
    """
    found, original = find_folds(model, batch), run(model, batch)
    done: dict[str, str] = {}
    for folds in (found, *({norm: layer} for norm, layer in found.items())):
        changed = copy.deepcopy(model)
        fold(changed, done | folds)
        change = (run(changed, batch) - original).abs().max()
        if folds and change <= _MAX_CHANGE * original.abs().max():
            done |= folds
        if done == found:
            break
    if not done:
        return model, {}
    changed = copy.deepcopy(model)
    fold(changed, done)
    return changed, done

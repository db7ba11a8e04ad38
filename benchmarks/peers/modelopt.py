"""NVIDIA ModelOpt: its allocation of bits (``auto_quantize``) and its GPTQ.

``auto_quantize`` scores a layer's width by the squared product of the loss's gradient and the
output's change, then solves a linear programme. It covers Linear and convolutions; Embedding is
left out of its choice and of its average, so compare on the layers that it names.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.peers.base import Inputs, Loss

_FULL_WIDTH = 16
_SHARED_PROJECTIONS = r"^(.*?)\.(query|key|value)$"


def allocate(
    model: nn.Module,
    calibration: Sequence[Inputs],
    average_widths: Sequence[float],
    widths: Sequence[int],
    loss: Loss,
) -> dict[float, dict[str, int]]:
    """See `benchmarks.peers.base.Allocate`; scored once, solved for each average width.

    Args:
        model: float32; stays as it is.
        calibration: batches; small ones, since each holds all activations for a gradient.
        average_widths: bits for a weight, over the layers that are named in the result.
        widths: what a layer may have; 16 stands for not quantized.
        loss: see `classifier_loss` and `embedding_loss`.
    """
    import modelopt.torch.quantization as mtq

    copied = copy.deepcopy(model).eval()
    _prepare(copied)
    _, state = _quietly(
        mtq.auto_quantize,
        copied,
        {"effective_bits": max(average_widths)},
        data_loader=calibration,
        forward_step=lambda module, inputs: module(**inputs),
        loss_func=lambda output, _: loss(output),
        num_calib_steps=1,  # only the extremes of weights count, and they need no data
        num_score_steps=len(calibration),
        quantization_formats=[_weights_in(n) for n in widths if n != _FULL_WIDTH],
        module_search_spaces=[_search_space(widths)],
    )
    return {bits: _widths_for(state, bits) for bits in average_widths}


def round_weights(
    model: nn.Module, calibration: Sequence[Inputs], n_bits: int, group_size: int | None = None
) -> nn.Module:
    """See `benchmarks.peers.base.RoundWeights`; GPTQ (Frantar et al. 2022) of the Linear layers."""
    import modelopt.torch.quantization as mtq

    def feed(module: nn.Module) -> None:
        for inputs in calibration:
            module(**inputs)

    config = _weights_in(n_bits, group_size, algorithm="gptq", also_convolutions=False)
    copied = copy.deepcopy(model).eval()
    quantized = _quietly(mtq.quantize, copied, config, feed)
    rounded = copy.deepcopy(model).eval()
    mtq.fold_weight(quantized)
    names = dict(rounded.named_parameters())
    rounded.load_state_dict({k: v for k, v in quantized.state_dict().items() if k in names}, False)
    return rounded


def classifier_loss(logits: Tensor) -> Tensor:
    """Cross-entropy against classes drawn from the model itself.

    The expected squared gradient is Fisher's information: the curvature of the output's KL.
    """
    drawn = logits.detach().softmax(1).multinomial(1).squeeze(1)
    return functional.cross_entropy(logits, drawn)


def embedding_loss(embeddings: Tensor) -> Tensor:
    """The unit embeddings projected on random signs (Hutchinson).

    The expected squared gradient is the curvature of 1 − cosine, whose own gradient is zero
    where the search begins.
    """
    units = functional.normalize(embeddings, dim=1)
    signs = torch.randint_like(units, 2) * 2 - 1
    return (units * signs).sum()


def _weights_in(
    n_bits: int,
    group_size: int | None = None,
    algorithm: str = "max",
    also_convolutions: bool = True,
) -> dict[str, Any]:
    grain = {"block_sizes": {-1: group_size}} if group_size else {"axis": 0}
    rule = {"quantizer_name": "*weight_quantizer", "cfg": {"num_bits": n_bits, **grain}}
    rules = [{"quantizer_name": "*", "enable": False}, rule]
    if not also_convolutions:
        kinds = ("nn.Conv1d", "nn.Conv2d", "nn.Conv3d", "nn.Embedding")
        rules += [{"parent_class": k, "quantizer_name": "*", "enable": False} for k in kinds]
    return {"quant_cfg": rules, "algorithm": algorithm}


def _search_space(widths: Sequence[int]) -> dict[str, Any]:
    return {
        "module_name_patterns": ["*"],
        "quantization_formats": [_weights_in(n) for n in widths if n != _FULL_WIDTH],
        "allow_no_quant": _FULL_WIDTH in widths,
    }


def _widths_for(state: Mapping[str, Any], average_width: float) -> dict[str, int]:
    # the public call gives a configuration of quantizers; the recipes themselves name the widths
    from modelopt.torch.quantization.algorithms import _resolve_best_recipe

    recipes = _resolve_best_recipe(state, {"effective_bits": average_width})
    return {
        name: recipe.num_bits
        for group, recipe in recipes.items()
        for name in state["candidate_stats"][group]["module_names"]
    }


def _prepare(model: nn.Module) -> None:
    """Register what ModelOpt would skip: subclasses with their own forward."""
    from modelopt.torch.quantization.algorithms import AutoQuantizeGradientSearcher
    from modelopt.torch.quantization.nn import QuantModuleRegistry

    for kind in {type(module) for module in model.modules()}:
        for base in (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d):
            if issubclass(kind, base) and kind not in QuantModuleRegistry:
                known = QuantModuleRegistry._registry[base]
                QuantModuleRegistry.register({kind: kind.__name__})(known)
    rules = AutoQuantizeGradientSearcher.quant_grouping_rules
    if _SHARED_PROJECTIONS not in rules:
        rules.append(_SHARED_PROJECTIONS)


def _quietly(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    with warnings.catch_warnings():
        # it warns about every format that is not its own
        warnings.simplefilter("ignore")
        return function(*args, **kwargs)

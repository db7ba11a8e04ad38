"""The weights of a quantized model, as `encoder.quant.rewrite.store_weights` takes them.

Importing this imports torch.
"""

from __future__ import annotations

from torch import nn

from encoder.quant.layers import quantized_modules
from encoder.quant.packing import unpack
from encoder.quant.rewrite import StoredWeight


def stored_weights(module: nn.Module) -> dict[str, StoredWeight]:
    """What is stored in integers, by the parameter's name; tied weights under each name."""
    found: dict[str, StoredWeight] = {}
    for name, layer in quantized_modules(module):
        if not layer.scheme.is_integer:
            continue
        weight = layer.packed_weight
        found[f"{name}.{layer.parameter_name}"] = StoredWeight(
            codes=unpack(weight.packed, weight.scheme.bits, weight.n_columns).numpy(),
            scales=weight.scales.float().numpy(),
            bits=weight.scheme.bits,
            shape=layer.weight_shape,
        )
    return found

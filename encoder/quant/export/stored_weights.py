"""The weights of a quantized model, as `encoder.onnx.store_weights` takes them.

Importing this imports torch.
"""

from __future__ import annotations

from torch import nn

from encoder.onnx.stored import StoredWeight
from encoder.quant.packing import unpack
from encoder.quant.stored import stored_in_modules


def stored_weights(module: nn.Module) -> dict[str, StoredWeight]:
    """The weights stored as integers, by the parameter's name; tied weights under each name.

    Weights whose output channels are not their first axis are left out: they stay as the network
    has them.
    """
    found: dict[str, StoredWeight] = {}
    for name, layer in stored_in_modules(module):
        if not layer.scheme.is_integer or layer.layout.axis:
            continue
        weight = layer.packed_weight
        found[f"{name}.{layer.parameter}"] = StoredWeight(
            codes=unpack(weight.packed, weight.scheme.bits, weight.n_columns).numpy(),
            scales=weight.scales.float().numpy(),
            bits=weight.scheme.bits,
            shape=layer.layout.shape,
        )
    return found

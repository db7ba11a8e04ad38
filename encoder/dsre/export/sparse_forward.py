"""The sparse forward as an ONNX file: any batch, any length, the kept length found inside.

Each gate is one call of the function that `export.merge_graph` lays. This is for networks
of torch, whatever their architecture; `encoder.dsre.export.sparse_graph` needs arrays only.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoder.dsre.export.merge_graph import ACTIVE, DOMAIN, FUNCTION, LIMITS, TOKENS, merge_function

if TYPE_CHECKING:
    import onnx
    from torch import Tensor, nn

    from encoder.dsre.network import SparseEncoder

_OPSET = 20


def export_sparse(network: SparseEncoder, path: Path) -> None:
    """Write ``path``: inputs ``input_ids`` and ``mask``, outputs as `SparseEncoder.forward`."""
    import onnx

    model = _trace(network)
    model.functions.append(merge_function(network.blocks.shape.hidden_dim))
    onnx.save(model, str(path))


def _trace(network: SparseEncoder) -> onnx.ModelProto:
    """The network as ONNX, with a node `FUNCTION` for each gate that nothing defines yet."""
    import torch

    example = {"input_ids": torch.ones(2, 12, dtype=torch.int64), "mask": torch.ones(2, 12)}
    gate = torch.ops.anymodal.merge_tokens.default
    outputs = ("embedding", "kept")
    return _export(network, example, outputs, translations={gate: _gate_node})


def _gate_node(*inputs: Any) -> Any:
    """What the exporter puts where `merge_tokens` is called."""
    import onnxscript
    from onnx.defs import OpSchema

    kinds = ["tensor(float)"] * 3 + ["tensor(int64)", "tensor(float)", "tensor(bool)"]
    names = [*TOKENS, *LIMITS, ACTIVE]
    schema = OpSchema(
        FUNCTION,
        DOMAIN,
        1,
        inputs=[OpSchema.FormalParameter(n, kind) for n, kind in zip(names, kinds, strict=True)],
        outputs=[OpSchema.FormalParameter(f"merged_{n}", "tensor(float)") for n in TOKENS],
    )
    node = onnxscript.values.Op(onnxscript.values.Opset(DOMAIN, 1), FUNCTION, schema)
    return node(*inputs)


def _export(
    module: nn.Module,
    example: Mapping[str, Tensor],
    outputs: tuple[str, ...] | list[str],
    translations: Mapping[Any, Any] | None = None,
) -> onnx.ModelProto:
    """Export with batch and length (the first two axes) left open."""
    import torch
    from torch.export import Dim

    with warnings.catch_warnings():
        # the exporter warns about its own internals
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.eval(),
            kwargs=dict(example),
            input_names=list(example),
            output_names=list(outputs),
            dynamic_shapes={
                name: dict.fromkeys(range(min(tensor.ndim, 2)), Dim.DYNAMIC)
                for name, tensor in example.items()
            },
            opset_version=_OPSET,
            dynamo=True,
            verbose=False,
            custom_translation_table=dict(translations or {}),
        )
    assert program is not None
    program.optimize()
    return program.model_proto

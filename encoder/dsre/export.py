"""The sparse forward as an ONNX file: any batch, any length, the kept length found inside.

Each gate is one call of a function in the file, whose body is what torch exports of
`encoder.dsre.merge.merge_tokens`, behind an ``If``: a batch of short texts skips it. The nodes
between the gates are those of the dense graph, so that it can be fused and quantized likewise.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx
    from torch import Tensor, nn

    from encoder.dsre.network import SparseEncoder

DOMAIN = "anymodal"
FUNCTION = "MergeTokens"
_OPSET = 20
_TOKENS = ("states", "sizes", "protection")
_LIMITS = ("floor", "threshold")
_ACTIVE = "active"


def export_sparse(network: SparseEncoder, path: Path) -> None:
    """Write ``path``: inputs ``input_ids`` and ``mask``, outputs as `SparseEncoder.forward`."""
    import onnx

    model = trace_sparse(network)
    define_gate(model, network.blocks.shape.hidden_dim)
    onnx.save(model, str(path))


def trace_sparse(network: SparseEncoder) -> onnx.ModelProto:
    """The network as ONNX, with a node `FUNCTION` for each gate that nothing defines yet.

    Fuse or quantize this, then call `define_gate`; only then ONNX Runtime takes it.
    """
    import torch

    example = {"input_ids": torch.ones(2, 12, dtype=torch.int64), "mask": torch.ones(2, 12)}
    gate = torch.ops.anymodal.merge_tokens.default
    outputs = ("embedding", "kept")
    return _export(network, example, outputs, translations={gate: _gate_node})


def define_gate(model: onnx.ModelProto, hidden_dim: int) -> None:
    """Add the body of `FUNCTION`, for states of ``hidden_dim``, to a model that calls it."""
    from onnx import helper

    merged = [f"merged_{name}" for name in _TOKENS]
    branches = {"then_branch": _merge_graph(hidden_dim), "else_branch": _pass_graph()}
    choice = helper.make_node("If", [_ACTIVE], merged, **branches)
    function = helper.make_function(
        DOMAIN,
        FUNCTION,
        [*_TOKENS, *_LIMITS, _ACTIVE],
        merged,
        [choice],
        [helper.make_opsetid("", _OPSET)],
    )
    model.functions.append(function)


def _gate_node(*inputs: Any) -> Any:
    """What the exporter puts where `merge_tokens` is called."""
    import onnxscript
    from onnx.defs import OpSchema

    kinds = ["tensor(float)"] * 3 + ["tensor(int64)", "tensor(float)", "tensor(bool)"]
    names = [*_TOKENS, *_LIMITS, _ACTIVE]
    schema = OpSchema(
        FUNCTION,
        DOMAIN,
        1,
        inputs=[OpSchema.FormalParameter(n, kind) for n, kind in zip(names, kinds, strict=True)],
        outputs=[OpSchema.FormalParameter(f"merged_{n}", "tensor(float)") for n in _TOKENS],
    )
    node = onnxscript.values.Op(onnxscript.values.Opset(DOMAIN, 1), FUNCTION, schema)
    return node(*inputs)


def _merge_graph(hidden_dim: int) -> onnx.GraphProto:
    """`merge_tokens` as a subgraph that takes its inputs from the scope around it."""
    import torch
    from onnx import helper

    from encoder.dsre.operator import MergeTokens

    example = {
        "states": torch.ones(2, 12, hidden_dim),
        "sizes": torch.ones(2, 12),
        "protection": torch.zeros(2, 12),
        "floor": torch.tensor([4, 4]),
        "threshold": torch.tensor(0.5),
    }
    outputs = [f"then_{name}" for name in _TOKENS]
    graph = _export(MergeTokens(), example, outputs).graph
    constants = [helper.make_node("Constant", [], [t.name], value=t) for t in graph.initializer]
    return helper.make_graph([*constants, *graph.node], "merge", [], _untyped(outputs))


def _pass_graph() -> onnx.GraphProto:
    from onnx import helper

    outputs = [f"else_{name}" for name in _TOKENS]
    nodes = [
        helper.make_node("Identity", [name], [output])
        for name, output in zip(_TOKENS, outputs, strict=True)
    ]
    return helper.make_graph(nodes, "pass", [], _untyped(outputs))


def _untyped(names: list[str]) -> list[onnx.ValueInfoProto]:
    from onnx import TensorProto, helper

    # lengths differ between the branches, so shapes are left open
    return [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names]


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

"""What the profile counts: samples by place, and operations by shapes."""

from __future__ import annotations

from pathlib import Path

import pytest
from onnx import TensorProto, helper, save

from benchmarks.pipeline import flames
from benchmarks.towers import limits


def test_samples_of_running_threads_are_shared_out_by_place() -> None:
    found = flames.shares(
        [
            "main;forward (encoder/towers/base.py:65);Session.run (encoder/runtime/onnx.py:65) 6",
            "main;write (search/store/milvus/store.py:210);call (pymilvus/client.py:1) 3",
            "main;wait (threading.py:295) 90",
            "main;something (elsewhere.py:1) 1",
            "",
        ]
    )
    assert found == pytest.approx({"networks of towers": 0.6, "the store": 0.3, "all else": 0.1})


def test_products_and_convolutions_are_counted(tmp_path: Path) -> None:
    weights = helper.make_tensor("w", TensorProto.INT8, (4, 3, 2, 2), [1] * 48)
    names = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz"]
    node = helper.make_node("QLinearConv", names, ["y"], name="c")
    save(helper.make_model(helper.make_graph([node], "g", [], [], [weights])), tmp_path / "g.onnx")
    kernels = limits.kernels(tmp_path / "g.onnx")
    assert kernels == {"c": 12}

    def ran(name: str, kind: str, type_: str, out: list[int]) -> dict[str, object]:
        shapes = {"input_type_shape": [{type_: [2, 5]}], "output_type_shape": [{type_: out}]}
        return {"name": f"{name}_kernel_time", "args": {"op_name": kind, **shapes}}

    nodes = [ran("c", "QLinearConv", "uint8", [1, 4, 3, 3]), ran("m", "MatMul", "float", [2, 7])]
    found = limits.operations([*nodes, ran("a", "Add", "float", [9]), {"name": "m_fence"}], kernels)
    assert found == {"int8": 2 * 36 * 12, "float32": 2 * 14 * 5}

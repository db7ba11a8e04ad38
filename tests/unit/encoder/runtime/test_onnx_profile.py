"""What a profile says of a network whose nodes are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from encoder.runtime.onnx import OnnxSession
from encoder.runtime.onnx_profile import ProfiledSession, times_of


def event(kind: str, at: int, lasted: int, name: str = "node", cat: str = "Node") -> dict:
    return {"cat": cat, "name": name, "ts": at, "dur": lasted, "args": {"op_name": kind}}


def test_calls_of_a_function_are_summed_run_by_run() -> None:
    events = [
        event("If", 10, 500), event("Add", 20, 9, "_inlfunc_Merge_add"),
        event("If", 700, 1500), event("Add", 720, 9, "_inlfunc_Merge_token_0_add"),
        event("If", 2500, 90), event("Attention", 2510, 70, "other"),
        event("", 0, 3000, "model_run", "Session"),
        event("If", 4000, 250), event("Mul", 4100, 9, "_inlfunc_Merge_mul"),
        event("", 3900, 900, "model_run", "Session"), event("", 5000, 10, "model_run", "Session"),
    ]  # fmt: skip
    assert list(times_of(events, "Merge")) == [2.0, 0.25, 0.0]


def test_a_real_session_tells_each_run_and_gives_the_same(tmp_path: Path) -> None:
    branch = [
        helper.make_graph(
            [helper.make_node("MatMul", ["x", "x"], [out], "Square_" + out)],
            out,
            [],
            [helper.make_tensor_value_info(out, TensorProto.FLOAT, None)],
        )
        for out in ("yes", "no")
    ]
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch[0], else_branch=branch[1])
    graph = helper.make_graph(
        [node],
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", "n"]),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    path = tmp_path / "if.onnx"
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), str(path))
    session = ProfiledSession(path, n_threads=1)
    inputs = [{"x": np.ones((n, n), np.float32), "c": np.array(True)} for n in (4, 600)]
    found = [session.run(one)[0] for one in inputs]
    small, large = session.close("Square")
    assert 0 < small < large
    for one, value in zip(inputs, found, strict=True):
        assert np.array_equal(OnnxSession(path, n_threads=1).run(one)[0], value)

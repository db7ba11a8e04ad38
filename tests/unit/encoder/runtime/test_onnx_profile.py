"""What a profile says of a network whose nodes are known."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from encoder.runtime.onnx import OnnxSession, ProfiledSession, times_of


def event(name: str, kind: str = "", lasted: int = 9) -> str:
    facts = {"dur": lasted, "name": name, "args": {"op_name": kind} if kind else {}}
    return json.dumps(facts, separators=(",", " :")) + ",\n"


RUN = event("model_run", lasted=3000)
CALL = [
    event("_inlfunc_Merge_add", "Add"),
    event("_inlfunc_Merge_mul", "Mul"),
    event("If_2", "If", 500),
]
OTHER = [event("pad", "Gather"), event("If_1", "If", 90)]


def test_calls_of_a_function_are_summed_run_by_run() -> None:
    lines = [
        "[\n",
        event("start"),
        *OTHER,
        *CALL,
        *OTHER,
        *CALL,
        RUN,
        *CALL,
        RUN,
        *OTHER,
        RUN,
        "]\n",
    ]
    assert list(times_of(lines, "Merge")) == [1.0, 0.5, 0.0]


def test_each_event_is_read_once_and_few_are_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    n_runs, n_calls, n_read, n_parsed = 1000, 6, 0, 0
    lines = ["[\n", *[*OTHER * 20, *CALL * n_calls, RUN] * n_runs, "]\n"]
    loads = json.loads

    def read() -> Iterator[str]:
        nonlocal n_read
        for line in lines:
            n_read += 1
            yield line

    def parse(line: str) -> Any:
        nonlocal n_parsed
        n_parsed += 1
        return loads(line)

    monkeypatch.setattr(json, "loads", parse)
    assert list(times_of(read(), "Merge")) == [n_calls * 0.5] * n_runs
    assert (n_read, n_parsed) == (len(lines), n_calls * n_runs)


def test_a_real_session_reports_each_run_and_gives_the_same(tmp_path: Path) -> None:
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

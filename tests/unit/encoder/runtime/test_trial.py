"""A trial picks the fastest runtime that computes the same, once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Barrier, Lock
from typing import Any

import numpy as np
import pytest

from encoder.errors import ModelError
from encoder.runtime.base import Array, SideBySide, run_all
from encoder.runtime.trial import compare, cpu_model, fastest_session

EXAMPLES = [{"x": np.arange(1.0, 5.0).reshape(2, 2)}]


def examples() -> list[dict[str, Array]]:
    return EXAMPLES


FACTS = {"network": "abc", "cpu": cpu_model()}


class Waiting:
    """Gives its input, changed and after a while."""

    def __init__(self, wait_s: float = 0.0, change: Callable[[Array], Array] | None = None) -> None:
        self.wait_s = wait_s
        self.change = change or np.copy
        self.n_runs = 0

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        self.n_runs += 1
        time.sleep(self.wait_s)
        return [self.change(inputs["x"])]


def broken() -> Any:
    raise ImportError("no such library")


def remembered(memory: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in memory.glob("*.json")]


def test_the_fastest_is_chosen_and_remembered(tmp_path: Path) -> None:
    slow, fast = Waiting(0.02), Waiting()
    candidates = {"slow": lambda: slow, "fast": lambda: fast}
    memory = tmp_path / "new" / "trials"

    assert fastest_session(candidates, examples, facts=FACTS, memory=memory) is fast
    n_runs = slow.n_runs
    assert fastest_session(candidates, examples, facts=FACTS, memory=memory) is fast

    assert slow.n_runs == n_runs
    (known,) = remembered(memory)
    assert known["name"] == "fast"
    assert known["facts"] == FACTS
    assert known["median_ms"]["slow"] > known["median_ms"]["fast"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda x: x[:, ::-1], "cosine"),
        (lambda x: x * np.nan, "cosine of 0"),
        (lambda x: x[:1], "cosine of 0"),
        (lambda x: x[:0], "cosine of 0"),
    ],
)
def test_a_candidate_that_computes_otherwise_is_dropped(
    change: Callable[[Array], Array], reason: str
) -> None:
    choice = compare(
        {"good": lambda: Waiting(0.005), "wrong": lambda: Waiting(change=change)}, EXAMPLES
    )

    assert choice.name == "good"
    assert reason in choice.dropped["wrong"]
    assert set(choice.median_ms) == {"good"}


def test_one_that_rounds_elsewhere_may_win() -> None:
    near = Waiting(change=lambda x: x * (1 + 0.01 * (np.arange(x.size).reshape(x.shape) % 2)))
    candidates = {"good": lambda: Waiting(0.005), "near": lambda: near}
    assert compare(candidates, EXAMPLES).name == "near"


def test_a_candidate_that_fails_is_dropped_with_its_reason() -> None:
    choice = compare({"good": Waiting, "broken": broken}, EXAMPLES)

    assert choice.name == "good"
    assert choice.dropped == {"broken": "ImportError: no such library"}
    with pytest.raises(ImportError):
        compare({"broken": broken, "good": Waiting}, EXAMPLES)


def test_a_choice_that_broke_since_gives_way(tmp_path: Path) -> None:
    memory = tmp_path / "trials"
    slow = Waiting(0.01)
    fastest_session({"slow": lambda: slow, "fast": Waiting}, examples, facts=FACTS, memory=memory)

    def gone() -> Waiting:
        raise ModelError("It was uninstalled.")

    found = fastest_session(
        {"slow": lambda: slow, "fast": gone}, examples, facts=FACTS, memory=memory
    )
    assert found is slow


@pytest.mark.parametrize("content", ["{", "[]", '{"key": 3}'])
def test_a_damaged_memory_is_written_again(tmp_path: Path, content: str) -> None:
    candidates = {"a": Waiting, "b": Waiting}
    fastest_session(candidates, examples, facts=FACTS, memory=tmp_path)
    (path,) = tmp_path.glob("*.json")
    path.write_text(content)

    fastest_session(candidates, examples, facts=FACTS, memory=tmp_path)

    assert [known["facts"] for known in remembered(tmp_path)] == [FACTS]


def test_a_memory_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    memory = tmp_path / "file" / "trials"
    slow, fast = Waiting(0.01), Waiting()

    for _ in range(2):
        found = fastest_session(
            {"slow": lambda: slow, "fast": lambda: fast}, examples, facts=FACTS, memory=memory
        )
        assert found is fast


class Named:
    """Records who ran it, and the first number of its input."""

    def __init__(self, name: str, company: int = 1) -> None:
        self.name = name
        self._met = Barrier(company, timeout=60)
        self._lock = Lock()
        self.sizes: list[int] = []

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        with self._lock:
            self.sizes.append(inputs["input_ids"].size)
        self._met.wait()
        return [np.array([self.name, str(inputs["input_ids"].flat[0])])]


def inputs(*sizes: int) -> list[dict[str, Array]]:
    """Inputs of these sizes that hold their numbers."""
    return [{"input_ids": np.full(size, number)} for number, size in enumerate(sizes)]


@pytest.mark.parametrize(("shape", "name"), [((2, 3), "one"), ((1, 7), "many")])
def test_the_size_of_the_first_input_decides(shape: tuple[int, int], name: str) -> None:
    opened: list[Named] = []

    def many() -> Named:
        opened.append(Named("many"))
        return opened[-1]

    session = SideBySide(Named("one"), many, n_threads=2, small=6)
    for _ in range(2):
        (found,) = session.run({"input_ids": np.zeros(shape), "mask": np.zeros((9, 9))})
        assert found[0] == name
    assert len(opened) == (name == "many")  # once, and not for a short text


def test_several_runs_go_side_by_side_and_come_back_in_order() -> None:
    one = Named("one", company=2)  # neither ends before the other has begun
    found = run_all(SideBySide(one, lambda: Named("many"), n_threads=2), inputs(5, 9, 8, 7))
    assert [list(outputs) for (outputs,) in found] == [["one", str(n)] for n in range(4)]
    assert sorted(one.sizes[:2]) == [8, 9]  # the longest first


@pytest.mark.parametrize(
    ("sizes", "n_threads", "name"),
    [
        ((9,), 2, "many"),  # nothing to go beside
        ((90, 10), 2, "many"),  # a second thread would soon be idle
        ((9, 9), 8, "many"),  # as would six of eight
        ((3, 3), 8, "one"),  # one thread takes each of them anyway
        ((9, 9, 9, 9, 9, 9, 9, 9), 8, "one"),
    ],
)
def test_runs_are_divided_where_that_is_faster(
    sizes: tuple[int, ...], n_threads: int, name: str
) -> None:
    session = SideBySide(Named("one"), lambda: Named("many"), n_threads=n_threads, small=4)
    assert {outputs[0] for (outputs,) in run_all(session, inputs(*sizes))} == {name}


def test_what_a_run_raises_is_raised() -> None:
    class Broken:
        def run(self, inputs: Mapping[str, Array]) -> list[Array]:  # noqa: ARG002
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        run_all(SideBySide(Broken(), Broken, n_threads=2), inputs(9, 9))


RUN_A_NETWORK = """
import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, save

from encoder.runtime.onnx import OnnxSession

x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "same", [x], [y])
file = Path(sys.argv[1])
save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), file)
OnnxSession(file).run({"x": np.ones(1, np.float32)})
"""


def test_onnx_runtime_keeps_no_id_of_this_machine(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    # Not the whole environment: under continuous integration it would keep none anyway.
    environment = {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, "-c", RUN_A_NETWORK, tmp_path / "same.onnx"]
    subprocess.run(command, env=environment, check=True)
    assert list(home.rglob("Microsoft")) == []

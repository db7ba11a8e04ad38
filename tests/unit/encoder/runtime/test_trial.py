"""A trial picks the fastest runtime that computes the same, once."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoder.errors import ModelError
from encoder.runtime.base import Array
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


def test_a_stricter_trial_drops_more() -> None:
    near = Waiting(change=lambda x: x * (1 + 0.01 * (np.arange(x.size).reshape(x.shape) % 2)))
    candidates = {"good": lambda: Waiting(0.005), "near": lambda: near}

    assert compare(candidates, EXAMPLES).name == "near"
    strict = compare(candidates, EXAMPLES, min_cosine=1 - 1e-7)
    assert strict.name == "good"
    assert "less than 0.9999999" in strict.dropped["near"]


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

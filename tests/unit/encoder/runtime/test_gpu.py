"""What runs on a GPU, tested without one: which GPU, in which order, from which memory."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from encoder.models import hub
from encoder.runtime.torch import ahead, moved, one_gpu
from encoder.towers import hub as towers
from tests.support import tiny_models as tiny


def test_processes_take_the_gpus_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [one_gpu("cuda", process) for process in range(3)] == ["cuda:0", "cuda:1", "cuda:0"]
    assert [one_gpu(device, 1) for device in ("cuda:0", "cpu", None)] == ["cuda:0", "cpu", None]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert one_gpu("cuda", 1) == "cuda"


def test_items_are_made_side_by_side_and_come_in_their_order() -> None:
    together = threading.Barrier(3, timeout=30)  # breaks if fewer than three are made at once

    def make(item: int) -> int:
        together.wait()
        return item * item

    assert list(ahead(make, range(6), 3)) == [0, 1, 4, 9, 16, 25]
    assert list(ahead(make, [], 3)) == []


def test_no_more_is_made_than_is_asked_for_soon() -> None:
    begun: list[int] = []
    made: Iterator[None] = ahead(begun.append, range(100), 2)
    next(made)
    assert len(begun) <= 3


def test_what_is_no_tensor_is_not_moved() -> None:
    found = moved({"ids": torch.ones(2), "modality": "text"}, torch.device("cpu"))
    assert found["modality"] == "text"
    assert found["ids"].device.type == "cpu"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["clip", "embedding_gemma"])
def test_batches_made_ahead_give_the_same_rows(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(towers, "_BATCH", 2)
    _, joint, _ = hub.open_joint(str(tiny.save(kind, tmp_path)), None, "cpu")
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (40, 50, 3), np.uint8) for _ in range(7)]
    texts = ["a cat", "the dog", "a red bicycle", "no", "rain", "the sea"]
    rows = {}
    for joint.ahead in (False, True):
        picture = towers.image_tower(joint, "")
        seen = picture.forward([picture.prepare(one) for one in pictures]).rows
        rows[joint.ahead] = seen, joint.embed("text", texts, "")
    for alone, side_by_side in zip(rows[False], rows[True], strict=True):
        np.testing.assert_array_equal(alone, side_by_side)

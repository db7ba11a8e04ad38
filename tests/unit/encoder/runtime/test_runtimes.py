"""Both runtimes give what the module gives; an export that differs is refused."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from encoder.errors import ModelError
from encoder.models import hub
from encoder.runtime.onnx import OnnxSession
from encoder.runtime.openvino import OpenVinoSession, is_installed, version
from encoder.runtime.torch import TorchSession, ahead, moved, one_gpu
from encoder.towers import hub as towers
from tests.support import tiny_models as tiny
from tests.unit.encoder.exported import export


class Mix(nn.Module):
    """Scales one input by the sum of another."""

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        return x * scale.sum()


EXAMPLES = [
    {"x": np.full((n, 3), 2.0, np.float32), "scale": np.arange(3, dtype=np.float32)}
    for n in (2, 1, 5)
]


def test_export_agrees_for_every_length(tmp_path: Path) -> None:
    path = tmp_path / "mix.onnx"

    export(Mix(), EXAMPLES[0], path, {"x": (0,)})

    (found,) = OnnxSession(path, n_threads=1).run(EXAMPLES[2])
    assert found.tolist() == [[6.0] * 3] * 5


def test_torch_session_gives_arrays() -> None:
    (found,) = TorchSession(Mix()).run(EXAMPLES[0])

    assert isinstance(found, np.ndarray)
    assert found.tolist() == [[6.0] * 3] * 2


def test_torch_session_passes_several_outputs() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, torch.zeros(1)

    found = TorchSession(Two()).run({"x": np.ones(2, np.float32)})

    assert [output.tolist() for output in found] == [[1.0, 1.0], [0.0]]


@pytest.mark.parametrize("content", [None, b"not a network"])
def test_unusable_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "net.onnx"
    if content:
        path.write_bytes(content)

    with pytest.raises(ModelError, match=r"net\.onnx cannot be run"):
        OnnxSession(path)


class Double(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2


@pytest.mark.slow
def test_it_runs_a_network_or_shows_how_to_install_it(tmp_path: Path) -> None:
    path = tmp_path / "double.onnx"
    examples = [{"x": np.ones((n, 3), np.float32)} for n in (2, 5)]
    export(Double(), examples[0], path, {"x": (0,)})
    if not is_installed():
        with pytest.raises(ModelError, match=r"pip install .*\[openvino\]'?"):
            OpenVinoSession(path)
        return

    session = OpenVinoSession(path, n_threads=1)

    first = session.run(examples[0])
    assert session.run(examples[1])[0].tolist() == [[2.0] * 3] * 5
    assert first[0].tolist() == [[2.0] * 3] * 2
    assert version()


def test_a_file_that_is_no_network(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"not a network")

    with pytest.raises(ModelError, match=r"net\.onnx (cannot be run by|on) OpenVINO"):
        OpenVinoSession(path)


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

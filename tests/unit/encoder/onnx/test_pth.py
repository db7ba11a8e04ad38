"""Tensors of ``.pth`` files in both formats; a file cannot run code."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from encoder.errors import ModelError
from encoder.onnx.pth import read_tensors

BASE = torch.arange(24, dtype=torch.float32).reshape(4, 6)
TENSORS = {
    "whole": BASE,
    "turned": BASE.T,  # shares the storage
    "part": BASE[1:3, ::2],
    "number": torch.tensor(7),
    "empty": torch.zeros(0, 3),
    "half": torch.ones(3, dtype=torch.float16),
    "flags": torch.tensor([True, False]),
    "bytes": torch.arange(5, dtype=torch.uint8),
}


@pytest.fixture(params=[True, False], ids=["zip", "legacy"])
def save(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[object], Path]:
    def save(content: object) -> Path:
        path = tmp_path / "weights.pth"
        torch.save(
            content, path, pickle_module=pickle, _use_new_zipfile_serialization=request.param
        )
        return path

    return save


def test_every_tensor_is_what_torch_saved(save: Callable[[object], Path]) -> None:
    found = read_tensors(save(TENSORS))
    assert list(found) == list(TENSORS)
    for name, wanted in TENSORS.items():
        assert found[name].dtype == wanted.numpy().dtype
        np.testing.assert_array_equal(found[name], wanted.numpy())


def test_a_state_dict_may_stand_before_numbers(save: Callable[[object], Path]) -> None:
    found = read_tensors(save((TENSORS, {"n_classes": np.int64(3)})))
    assert list(found) == list(TENSORS)


class Trap:
    """Unpickling it would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_a_file_cannot_run_code(save: Callable[[object], Path], tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    with pytest.raises(ModelError, match="which is not a tensor"):
        read_tensors(save({"a": Trap(sprung)}))
    assert not sprung.exists()


def test_what_is_cut_short_is_refused(save: Callable[[object], Path]) -> None:
    path = save(TENSORS)
    content = path.read_bytes()
    for n_bytes in (0, 20, len(content) // 2, len(content) - 30):
        path.write_bytes(content[:n_bytes])
        with pytest.raises(ModelError, match="bundle fetch"):
            read_tensors(path)


def test_what_holds_no_state_dict_is_refused(
    save: Callable[[object], Path], tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="instead of a state dict"):
        read_tensors(save([1, 2]))
    with pytest.raises(ModelError, match="missing"):
        read_tensors(tmp_path / "missing.pth")


class Reach:
    """A tensor whose numbers point beyond its storage."""

    def __init__(self, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
        self.about = (offset, shape, strides)

    def __reduce__(self) -> tuple[object, ...]:
        return torch._utils._rebuild_tensor_v2, (BASE.storage(), *self.about, False, {})


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
@pytest.mark.parametrize(
    "about", [(20, (4, 6), (6, 1)), (0, (4, 6), (60, 1)), (0, (2,), (-1,)), (-4, (2,), (1,))]
)
def test_no_tensor_reaches_beyond_its_storage(
    save: Callable[[object], Path], about: tuple[int, tuple[int, ...], tuple[int, ...]]
) -> None:
    with pytest.raises(ModelError, match="beyond its storage"):
        read_tensors(save({"a": Reach(*about)}))

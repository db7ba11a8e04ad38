"""Weights in half precision become float32 files once, and are mapped."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from encoder.models import hub
from encoder.models.sources import widened
from encoder.types import TEXT
from tests.support import tiny_models as tiny


@pytest.fixture
def half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ANYMODAL_CACHE", str(tmp_path / "cache"))
    folder = tiny.save("sentence", tmp_path / "model")
    for path in folder.rglob("*.safetensors"):
        tensors = {name: one.to(torch.bfloat16) for name, one in load_file(path).items()}
        save_file(tensors, path, {"format": "pt"})
    return folder


def test_half_precision_is_mapped_from_a_float32_copy(half: Path) -> None:
    model = hub.load(str(half), revision=None, device="cpu")
    again = hub.load(str(half), revision=None, device="cpu")
    mapped = Path("/proc/self/maps").read_text("utf-8")
    (copy,) = (half.parent / "cache" / "float32").glob("[!.]*")
    assert f"{copy}/" in mapped
    _, plain, _ = hub.open_joint(str(half), None, "cpu")
    expected = plain.embed("text", ["a red car"], "")
    for one in (model, again):
        tower = one.towers[TEXT]
        found = tower.forward([tower.prepare("a red car")]).rows
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_what_is_float32_or_runs_elsewhere_is_not_copied(half: Path) -> None:
    wide = widened(half, "cpu")
    assert wide != half
    assert widened(wide, "cpu") == wide
    assert widened(half, "cpu") == wide
    assert widened(half, "cuda") == half


def test_where_nothing_can_be_written_the_checkpoint_serves(
    half: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = half.parent / "file"
    blocked.write_text("x")
    monkeypatch.setenv("ANYMODAL_CACHE", str(blocked))
    assert widened(half, "cpu") == half
    assert "not shared" in caplog.text

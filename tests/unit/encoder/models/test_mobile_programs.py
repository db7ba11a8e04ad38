"""The towers for ExecuTorch: as torch computes them, and run by it where it is installed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from encoder.graphs.bert import BertSize
from encoder.graphs.packed import PackedTable
from encoder.media.image import resize
from encoder.models.mobile import described
from encoder.models.mobile.folder import _head
from encoder.models.open import load_model
from encoder.models.prepare.phones import programs
from encoder.models.prepare.phones.picture import PictureRows, Pixels
from encoder.models.sources.bundle.declaration import read_bundle
from encoder.models.sources.bundle.folder import location
from encoder.networks.bert import SentenceBert
from encoder.quant.export.executorch import lowered
from encoder.towers.picture.tower import to_pixels
from encoder.types import IMAGE

AXES = {"input_ids": {1: ("length", 2, 32)}}
SIDES = ((96, 128), (300, 200), (260, 260))


def picture(height: int, width: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    return resize(rng.integers(0, 256, (9, 12, 3), np.uint8), width, height)


def away(pixels: torch.Tensor, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Differences in grey levels."""
    found: NDArray[np.float32] = np.abs(pixels.numpy()[0] - to_pixels(rgb)) * 128
    return found


@pytest.mark.parametrize("sides", SIDES)
def test_pixels_are_those_of_the_tower(sides: tuple[int, int]) -> None:
    rgb = picture(*sides)
    found = away(Pixels()(torch.from_numpy(rgb)), rgb)
    assert found.max() <= 2.001
    assert found.mean() < (0.0005 if sides[0] <= sides[1] else 0.04)  # tall ones go columns first


def small_bert(vocab_size: int = 1100) -> SentenceBert:
    torch.manual_seed(0)
    size = BertSize(vocab_size, 32, hidden_dim=64, ffn_dim=128, n_layers=1, n_heads=4)
    return SentenceBert(size).eval()


def test_a_packed_table_has_its_rows() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (5, 2, 16), np.uint8)
    table = PackedTable(codes, rng.random((5, 2)).astype(np.float16))
    np.testing.assert_array_equal(programs._packed(table).weight.numpy(), table.unpacked())


def test_the_manifest_names_the_space_of_float32() -> None:
    files = [*described.NETWORKS.values(), *described.PROGRAMS.values()]
    spaces = {"int8": "a", "float32": "b"}
    bundle = read_bundle("english")
    about = described.manifest(bundle, "int8", spaces, dict.fromkeys(files, 0.99951234))
    assert about["space"] == "a"
    for name, tower in about["towers"].items():
        assert tower["executorch"]["network"] == f"{name}.pte"
        assert tower["executorch"]["space"] == "b"
        assert tower["executorch"]["least_cosine"] == 0.999512
    json.dumps(about)
    alone = described.manifest(bundle, "int8", spaces, dict.fromkeys(files[:2], 1.0))
    assert all("executorch" not in tower for tower in alone["towers"].values())


@pytest.mark.slow
@pytest.mark.usefixtures("bundle_home", "multilingual_home")
@pytest.mark.parametrize(("name", "n_rows"), [("english", 1), ("multilingual", 2)])
def test_a_picture_has_the_towers_rows(name: str, n_rows: int) -> None:
    bundle, rgb = read_bundle(name), picture(96, 128)
    tower = load_model(bundle.spec, n_threads=1).towers[IMAGE]
    network = PictureRows(location(bundle) / IMAGE / "weights.pth", _head(bundle)).eval()
    with torch.no_grad():
        found = network(torch.from_numpy(rgb)).numpy()
    assert found.shape == (n_rows, 384)
    assert float((found * tower.forward([tower.prepare(rgb)]).rows).sum(1).min()) > 0.9999


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of ExecuTorch's own imports
def test_inputs_of_layers_in_8_bits_count_in_full(tmp_path: Path) -> None:
    pytest.importorskip("executorch")
    network = small_bert()
    ids = torch.arange(1000, 1010)[None]
    with torch.no_grad():
        wanted = network(ids, torch.ones(1, 10)).numpy()
        programs._store_in_8_bits(network)
    path = tmp_path / "text.pte"
    path.write_bytes(lowered(programs._UnitRows(network).eval(), {"input_ids": ids[:, :7]}, AXES))
    (found,) = programs.Program(path).rows(ids.numpy())
    assert float(found @ found) == pytest.approx(1.0, abs=1e-5)
    assert float((found * wanted[0]).sum() / np.linalg.norm(wanted)) > 0.9998


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_pictures_of_any_size_are_scaled_by_executorch(tmp_path: Path) -> None:
    pytest.importorskip("executorch")
    path, sides = tmp_path / "pixels.pte", {0: ("height", 16, 400), 1: ("width", 16, 400)}
    rgb = {"rgb": torch.from_numpy(picture(*SIDES[0]))}
    path.write_bytes(lowered(Pixels().eval(), rgb, {"rgb": sides}))
    other = picture(*SIDES[1])
    assert away(torch.from_numpy(programs.Program(path).rows(other)), other).max() <= 2.001

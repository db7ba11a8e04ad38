"""Precisions of the bundle: which files run, and what that does to the space."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from encoder import MultiModalEncoder
from encoder.config import EncoderConfig
from encoder.errors import ModelError
from encoder.loading import load_model
from encoder.models.bundle.declaration import read_bundle
from encoder.models.bundle.model import parse_precision
from encoder.system.disk import sha256_of

TEXTS = [
    "A red car on a wet road",
    "the council voted on the budget for the coming year",
    "rain",
    "def main(): return 0",
    "日本語のテキスト 🙂",
    "word " * 300,
]


@pytest.fixture(scope="module")
def encoders(bundle_home: Path) -> Mapping[str | None, MultiModalEncoder]:
    assert bundle_home.is_dir()
    config = EncoderConfig(enable_dsre=False, n_threads=1)
    return {
        wish: MultiModalEncoder(quantization=wish, config=config) for wish in (None, "int8", "auto")
    }


def rows(encoder: MultiModalEncoder, **content: object) -> np.ndarray:
    ((_, found),) = encoder.encode_multimodal(**content).by_modality.items()  # type: ignore[arg-type]
    return found


def test_int8_has_a_space_of_its_own_which_auto_shares(
    encoders: Mapping[str | None, MultiModalEncoder],
) -> None:
    plain, int8, auto = (encoders[wish].space for wish in (None, "int8", "auto"))

    assert int8.fingerprint == auto.fingerprint != plain.fingerprint
    assert int8.identity["quantization"].startswith("int8 ")
    assert "quantization" not in plain.identity


def test_int8_texts_are_near_to_float(encoders: Mapping[str | None, MultiModalEncoder]) -> None:
    plain, int8, auto = (rows(encoders[wish], text=TEXTS) for wish in (None, "int8", "auto"))

    cosines = (plain * int8).sum(axis=1)
    assert cosines.min() > 0.99
    assert cosines.mean() > 0.996
    assert cosines.max() < 0.999999  # it is a different network
    np.testing.assert_allclose(int8, auto, atol=1e-6)


def test_int8_pictures_are_near_to_float(
    encoders: Mapping[str | None, MultiModalEncoder],
) -> None:
    side = np.linspace(0, 255, 300).astype(np.uint8)
    ramp = np.stack(np.broadcast_arrays(side[:, None], side[None, :], np.uint8(90)), axis=-1)
    plain, int8 = (rows(encoders[wish], image=ramp) for wish in (None, "int8"))

    assert 0.9 < plain @ int8 < 0.999999


@pytest.fixture
def folder(tmp_path: Path, bundle_home: Path) -> Path:
    """A tower as `anymodal models quantize` leaves it."""
    folder = tmp_path / "quantized"
    folder.mkdir()
    shutil.copy(bundle_home / "text" / "model.int8.onnx", folder / "model.onnx")
    tell(folder)
    return folder


def tell(folder: Path, **facts: str) -> None:
    sha256 = sha256_of(folder / "model.onnx")
    facts = {"model": "bundle:english", "tower": "text", "sha256": sha256, **facts}
    (folder / "manifest.json").write_text(json.dumps(facts))


def test_a_folder_replaces_its_tower(
    folder: Path, encoders: Mapping[str | None, MultiModalEncoder]
) -> None:
    encoder = MultiModalEncoder(
        config=EncoderConfig(quantization=str(folder), enable_dsre=False, n_threads=1)
    )

    assert encoder.space.fingerprint not in {e.space.fingerprint for e in encoders.values()}
    assert sha256_of(folder / "model.onnx") in encoder.space.identity["quantization"]
    found, wanted = (rows(e, text=TEXTS) for e in (encoder, encoders["int8"]))
    assert (found * wanted).sum(axis=1).min() > 0.999


def test_a_folder_of_folders_replaces_several_towers(
    folder: Path, bundle_home: Path, tmp_path: Path
) -> None:
    both = tmp_path / "both"
    shutil.copytree(folder, both / "text")
    (both / "image").mkdir()
    shutil.copy(bundle_home / "image" / "model.int8.onnx", both / "image" / "model.onnx")
    sha256 = sha256_of(both / "image" / "model.onnx")
    tell(both / "image", tower="image")

    precision = parse_precision(read_bundle("english"), str(both))

    assert precision.folders == {"image": both / "image", "text": both / "text"}
    assert precision.identity.split()[:3] == ["image", f"sha256:{sha256}", "text"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: tell(f, sha256="1" * 64), r"model\.onnx is missing, or not.*models quantize"),
        (lambda f: (f / "model.onnx").unlink(), r"model\.onnx is missing"),
        (lambda f: (f / "manifest.json").unlink(), "holds no quantized tower"),
        (lambda f: tell(f, tower="smell"), "Towers of bundle:english can be replaced"),
        (lambda f: tell(f, model="hf:a/b"), "Towers of bundle:english can be replaced"),
        (shutil.rmtree, r"is neither a known.*\"int8\", \"auto\", None"),
    ],
)
def test_a_folder_that_does_not_hold_its_tower_is_refused(
    folder: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(folder)
    with pytest.raises(ModelError, match=message):
        parse_precision(read_bundle("english"), str(folder))


def test_other_models_have_precisions_of_their_own(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"'int9' is not a precision of hf:a/b\..*int8, int4"):
        load_model("hf:a/b", quantization="int9")
    with pytest.raises(ModelError, match="does not exist"):  # and not because of its quantization
        load_model(f"dir:{tmp_path / 'nowhere'}", quantization="auto")

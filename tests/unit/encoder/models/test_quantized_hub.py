"""Towers of hub models that the Quantizer made, in the encoder."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from encoder import MultiModalEncoder
from encoder.config import EncoderConfig
from encoder.errors import InputError, ModelError
from encoder.models import tower_folder
from encoder.models.artifacts import all_artifacts
from encoder.models.bundle.declaration import read_bundle
from encoder.models.bundle.model import parse_precision
from encoder.models.hub import load
from encoder.models.spec import ModelSpec
from encoder.prepare.hub.check import picture
from encoder.prepare.hub.networks import load_network
from encoder.prepare.quantized_tower import QuantizedTower, quantize_tower
from encoder.types import IMAGE, TEXT, Modality
from tests.support import tiny_models as tiny
from workers.cli import anymodal

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("exported_once")]

CONFIG = EncoderConfig(n_threads=1)
TEXTS = ["a cat", "the dog barks at 3 trains", "rain on two roofs, and no umbrella"]
PICTURES = [picture(seed, 40, 50) for seed in range(3)]

WITHOUT_TORCH = """
import sys
for name in ("torch", "transformers", "sentence_transformers", "huggingface_hub", "onnx"):
    sys.modules[name] = None
from encoder import MultiModalEncoder
encoder = MultiModalEncoder(sys.argv[1], quantization=sys.argv[2])
print(encoder.encode_multimodal(text="a cat").text.tolist())
"""


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYMODAL_CACHE", str(tmp_path_factory.getbasetemp() / "quantized-hub"))


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "texts.txt"
    lines = (f"sentence {i} is about {i % 7} ships in a harbour" for i in range(32))
    path.write_text("\n\n".join(lines), "utf-8")
    return path


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for seed in range(12):
        Image.fromarray(picture(seed + 10, 48, 64)).save(folder / f"{seed}.png")
    return folder


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save("sentence", tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save("clip", tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="session")
def text_tower(bert: Path, texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """BERT's, by the command, each layer in bits of its own."""
    out = tmp_path_factory.mktemp("text-tower")
    ran = CliRunner().invoke(
        anymodal,
        ["models", "quantize", "--model", f"dir:{bert}", "--tower", "text",
         "--calibration", str(texts), "--items", "32", "--out", str(out)],
        catch_exceptions=False,
    )  # fmt: skip
    assert ran.exit_code == 0, ran.output
    (out / "report.json").write_text(ran.stdout)
    return out


@pytest.fixture(scope="session")
def image_tower(
    clip: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory
) -> QuantizedTower:
    """CLIP's."""
    out = tmp_path_factory.mktemp("image-tower")
    limits = {"keep": {"*.mlp.fc1": "int4g32"}}
    return quantize_tower(f"dir:{clip}", "image", out, limits=limits, calibration=pictures)


def rows(model: str, quantization: str | Path | None, **contents: object) -> np.ndarray:
    encoder = MultiModalEncoder(
        model, quantization=quantization and str(quantization), config=CONFIG
    )
    (found,) = encoder.encode_multimodal(**contents).by_modality.values()
    return found


def through_torch(source: Path, kind: Modality, contents: list[object]) -> np.ndarray:
    tower = load(str(source), revision=None, device="cpu").towers[kind]
    return tower.forward([tower.prepare(content) for content in contents]).rows


def assert_near(made: np.ndarray, expected: np.ndarray) -> None:
    """Each vector is near to its own, and nearer than to any other."""
    cosines = made @ expected.T
    assert cosines.diagonal().min() > 0.98
    assert cosines.argmax(axis=1).tolist() == list(range(len(made)))


def test_the_command_shows_what_it_made(bert: Path, text_tower: Path) -> None:
    report = json.loads((text_tower / "report.json").read_text())
    manifest = tower_folder.check(text_tower)

    assert report["cosine"]["mean"] >= 0.99
    assert report["cosine"] == manifest["measured"]
    assert report["compression"] == pytest.approx(report["fp32_bytes"] / report["bytes"], abs=0.01)
    assert len(set(report["layers"].values())) > 1  # bits of their own
    ops = Counter(node.op_type for node in onnx.load(text_tower / "model.onnx").graph.node)
    assert ops["MatMulNBits"] + ops["MatMulIntegerToFloat"] == 12  # two layers of six
    assert ops["Gemm"] == 0
    assert not any("pooler" in name for name in report["layers"])  # its output is not used
    assert (manifest["model"], manifest["tower"]) == (f"dir:{bert}", "text")


def test_a_text_tower_runs_from_its_folder_alone(bert: Path, text_tower: Path) -> None:
    spec = f"dir:{bert}"
    before = all_artifacts()
    made = rows(spec, text_tower, text=TEXTS)

    assert_near(made, through_torch(bert, TEXT, TEXTS))
    space = MultiModalEncoder(spec, quantization=str(text_tower)).space
    plain = load(str(bert), revision=None, device="cpu").space
    sha256 = tower_folder.read_manifest(text_tower)["sha256"]
    assert space.identity == {**plain.identity, "quantization": f"text sha256:{sha256}"}
    assert space.fingerprint != plain.fingerprint
    assert all_artifacts() == before

    run = [sys.executable, "-c", WITHOUT_TORCH, spec, str(text_tower)]
    said = subprocess.run(run, capture_output=True, text=True, check=True)
    np.testing.assert_allclose(json.loads(said.stdout), made[0], atol=1e-5)


def test_other_towers_run_as_prepared(
    clip: Path, image_tower: QuantizedTower, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANYMODAL_CACHE", str(tmp_path))
    spec, folder = f"dir:{clip}", image_tower.folder

    made = rows(spec, folder, image=PICTURES)  # prepares the model in int8

    assert_near(made, through_torch(clip, IMAGE, PICTURES))
    assert not np.array_equal(made, rows(spec, "int8", image=PICTURES))
    np.testing.assert_array_equal(rows(spec, folder, text=TEXTS), rows(spec, "int8", text=TEXTS))
    identity = MultiModalEncoder(spec, quantization=str(folder)).space.identity
    sha256 = tower_folder.read_manifest(folder)["sha256"]
    assert identity["quantization"] == f"image sha256:{sha256} others int8 recipe:2"
    (artifact,) = all_artifacts()
    assert artifact.manifest["key"]["precision"] == "int8"


def test_only_what_the_tower_runs_is_quantized(image_tower: QuantizedTower) -> None:
    schemes = image_tower.model.schemes
    assert any("patch_embedding" in name for name in schemes)
    assert not any("text_model" in name for name in schemes)
    assert {schemes[name].name for name in schemes if name.endswith("mlp.fc1")} == {"int4g32"}
    assert image_tower.facts["measured"]["mean"] >= 0.99
    weights = image_tower.summary()["onnx_bytes"]
    assert weights < image_tower.model.facts.fp32_nbytes


def test_a_folder_of_folders_holds_several_towers(
    clip: Path, image_tower: QuantizedTower, texts: Path, tmp_path: Path
) -> None:
    shutil.copytree(image_tower.folder, tmp_path / "image")
    quantize_tower(f"dir:{clip}", "text", tmp_path / "text", config="int8", calibration=texts)

    encoder = MultiModalEncoder(f"dir:{clip}", quantization=str(tmp_path), config=CONFIG)

    told = encoder.space.identity["quantization"].split()
    assert told[::2] == ["image", "text"]
    found = encoder.encode_multimodal(text=TEXTS, image=PICTURES)
    assert_near(found.text, through_torch(clip, TEXT, TEXTS))
    shutil.copytree(tmp_path / "image", tmp_path / "again")
    with pytest.raises(ModelError, match="holds the image tower twice"):
        MultiModalEncoder(f"dir:{clip}", quantization=str(tmp_path))


def test_a_folder_of_another_model_is_refused(bert: Path, clip: Path, text_tower: Path) -> None:
    with pytest.raises(ModelError, match=rf"text tower of dir:{bert} \(blake3:.*not of dir:{clip}"):
        MultiModalEncoder(f"dir:{clip}", quantization=str(text_tower))
    with pytest.raises(ModelError, match="Towers of bundle:english can be replaced"):
        parse_precision(read_bundle("english"), str(text_tower))


def test_what_is_too_far_from_float32_is_refused(bert: Path, texts: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"mean cosine of 0\.\d{4} .* less than 0\.999.*--budget"):
        quantize_tower(
            f"dir:{bert}", "text", tmp_path, config="int3", calibration=texts, max_items=16,
            least_cosine=0.9999,
        )  # fmt: skip
    with pytest.raises(ModelError, match="holds no quantized tower"):
        MultiModalEncoder(f"dir:{bert}", quantization=str(tmp_path))


def test_a_tower_that_the_model_lacks(bert: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"got 'image'\. Expected text, which dir:"):
        quantize_tower(f"dir:{bert}", "image", tmp_path)


def test_few_texts_calibrate_a_model_that_reads_media_among_them(
    texts: Path, tmp_path: Path
) -> None:
    source = tiny.save("embedding_gemma", tmp_path / "gemma")
    network = load_network(ModelSpec.parse(f"dir:{source}"), "text", tmp_path / "tower")

    fit, judge = network.read(texts, 7)

    assert [len(batch["features"]["input_ids"]) for batch in (fit, judge)] == [4, 3]
    assert [len(batch["features"]["soft_tokens"]) for batch in (fit, judge)] == [4, 4]
    with torch.inference_mode():
        assert network.module(**judge).shape == (3, 24)


def test_a_hub_model_is_known_by_its_commit(bert: Path, text_tower: Path, tmp_path: Path) -> None:
    """As if it had been quantized by its name."""
    folder = tmp_path / "tower"
    shutil.copytree(text_tower, folder)
    facts = dict(tower_folder.read_manifest(folder))
    facts |= {"source": "org/tiny@c0ffee", "revision": "main", "model": "hf:org/tiny@main"}
    tower_folder.write_manifest(folder, facts.pop("model"), facts.pop("tower"), **facts)

    for spec in ("hf:org/tiny", "hf:org/tiny@main", "hf:org/tiny@c0ffee"):
        assert MultiModalEncoder(spec, quantization=str(folder)).embed_dim == 32
    for spec in ("hf:org/tiny@v2", "hf:org/other", f"dir:{bert}"):
        with pytest.raises(ModelError, match=rf"\(org/tiny@c0ffee\), not of {spec}"):
            MultiModalEncoder(spec, quantization=str(folder))

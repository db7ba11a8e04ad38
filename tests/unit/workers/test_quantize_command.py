"""``anymodal models quantize`` on the real text tower."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image

from encoder import MultiModalEncoder
from encoder.errors import ModelError
from encoder.loading import load_model
from encoder.media.image import resize
from encoder.prepare import mobile
from encoder.towers.image import ConseSettings, to_pixels
from encoder.types import IMAGE, TEXT
from examples.mobile import Phone
from workers.cli import anymodal

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("bundle_home")]

TEXTS = ["a dog runs on the beach", "the interest rate was raised", "how to bake bread at home"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("quantized")
    source = folder / "texts.txt"
    source.write_text(
        "\n\n".join(f"Sentence {i} is about {i % 7} ships in a harbour." for i in range(32))
    )
    ran = CliRunner().invoke(
        anymodal,
        ["models", "quantize", "--tower", "text", "--scheme", "int4g64", "--keep", "word=int8",
         "--keep", "position=int8",
         "--calibration", str(source), "--items", "24",
         "--out", str(folder / "out")],
        catch_exceptions=False,
    )  # fmt: skip
    assert ran.exit_code == 0, ran.output
    return folder / "out", json.loads(ran.stdout)


def test_the_report_adds_up(made: tuple[Path, dict]) -> None:
    folder, report = made
    assert report["layers"]["word"] == "int8"
    assert report["layers"]["layers.0.query"] == "int4g64"
    assert report["compression"] == pytest.approx(report["fp32_bytes"] / report["bytes"], abs=0.01)
    assert report["onnx_bytes"] == (folder / "model.onnx").stat().st_size < report["fp32_bytes"] / 4
    assert 0 < report["loss"] < 0.05


def test_the_encoder_runs_the_folder(made: tuple[Path, dict]) -> None:
    folder, _ = made
    quantized = MultiModalEncoder(quantization=str(folder), enable_dsre=False)
    plain = MultiModalEncoder(quantization=None, enable_dsre=False)
    a, b = (e.encode_multimodal(text=TEXTS).text for e in (quantized, plain))
    assert a is not None
    assert b is not None
    cosines = (a * b).sum(1)
    assert 0.96 < cosines.min() < 0.99999
    assert quantized.space.fingerprint != plain.space.fingerprint


def test_a_pin_is_layer_and_scheme(tmp_path: Path) -> None:
    ran = CliRunner().invoke(
        anymodal, ["models", "quantize", "--keep", "word", "--out", str(tmp_path)]
    )
    assert ran.exit_code == 2
    assert "is not LAYER=SCHEME" in ran.output


def test_one_item_is_refused(tmp_path: Path) -> None:
    command = ["models", "quantize", "--items", "1", "--out", str(tmp_path)]
    ran = CliRunner().invoke(anymodal, command)
    assert ran.exit_code == 2
    assert "--items" in ran.output


@pytest.fixture(scope="module")
def phone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mobile") / "phone"
    command = ["models", "export", "--target", "mobile", "--model", "bundle:english"]
    command += ["--json", str(folder)]
    ran = CliRunner().invoke(anymodal, command, catch_exceptions=False)
    assert json.loads(ran.output)["cosines"].keys() == {"text.onnx", "image.onnx"}
    return folder


def noise(height: int, width: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    return resize(rng.integers(0, 256, (9, 12, 3), np.uint8), width, height)


def test_the_example_gives_the_servers_rows(phone: Path) -> None:
    own, model = Phone(phone), load_model("bundle:english", quantization="int8")
    texts = ["A dog's café, naïvely drawn!", "x" * 300, "$5 < 3 東京 a_b\tnew\nline", "word " * 400]
    tower = model.towers[TEXT]
    for text in texts[:3]:
        wanted = tower.forward([tower.prepare(text)]).rows[0]
        assert float(own.text(text) @ wanted) >= mobile.LEAST_COSINE
    assert own.text(texts[3]).shape == (384,)
    for sides in ((301, 517), (90, 110)):
        picture, seen = noise(*sides), model.towers[IMAGE]
        wanted = seen.forward([seen.prepare(picture)]).rows
        assert float((own.picture(picture) * wanted).sum()) >= mobile.LEAST_COSINE


def test_the_example_runs_without_anymodal_and_refuses_a_changed_file(
    phone: Path, tmp_path: Path
) -> None:
    Image.fromarray(noise(120, 160)).save(tmp_path / "one.ppm")
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in phone.iterdir():
        (copy / path.name).hardlink_to(path)
    script = Path(__file__).parents[3] / "examples" / "mobile.py"
    blocked = "sys.modules.update(dict.fromkeys(['encoder', 'torch', 'PIL']))"
    rest = "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    run = f"import runpy, sys; {blocked}; {rest}"
    command = [
        sys.executable,
        "-c",
        run,
        str(script),
        str(copy),
        "a dog",
        str(tmp_path / "one.ppm"),
    ]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout.endswith("one.ppm\n")
    (copy / "tokenizer.json").unlink()
    (copy / "tokenizer.json").write_text("{}", "utf-8")
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "is not what was written" in ran.stderr
    assert ran.returncode == 1


def test_a_network_that_differs_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mobile, "ConseSettings", lambda: ConseSettings(temperature=9.0))
    with pytest.raises(ModelError, match=r"cosine of image\.onnx 0"):
        mobile.export_mobile("bundle:english", tmp_path / "phone")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_bundle_and_a_folder_that_exists_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="only bundles can be exported for phones"):
        mobile.export_mobile("hf:org/name", tmp_path / "phone")
    with pytest.raises(ModelError, match="exists"):
        mobile.export_mobile("bundle:english", tmp_path)


def test_pixels_are_those_of_the_tower(phone: Path) -> None:
    import onnx
    import onnxruntime
    from onnx import helper

    model = onnx.load(phone / "image.onnx")
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("pixels", 1, None))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    for sides in ((333, 500), (80, 100), (640, 201)):
        picture = noise(*sides)
        (found,) = session.run(None, {"rgb": picture})
        away = np.abs(found[0] - to_pixels(picture)) * 128
        assert away.max() <= (0 if sides[0] < sides[1] else 2)

"""``anymodal models quantize`` on the real text tower."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from encoder import MultiModalEncoder
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
         "--keep", "position=int8", "--keep", "token_type=int8",
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

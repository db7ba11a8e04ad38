"""``models export --target mobile``: a folder that gives the server's rows without anymodal."""

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

from encoder.errors import ModelError
from encoder.loading import load_model
from encoder.media.image import resize
from encoder.prepare import mobile
from encoder.towers.image import ConseSettings, to_pixels
from encoder.types import IMAGE, TEXT
from examples.mobile import Phone
from workers.cli import anymodal

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("bundle_home")]


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

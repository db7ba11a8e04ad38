import json
from pathlib import Path

import pytest

from encoder.errors import InputError, ModelError
from encoder.quant.allocate import allocate
from encoder.quant.report import Row, SensitivityReport
from encoder.quant.schemes import FP16, FP32, INT4, INT8, Scheme
from encoder.system import extras

LOSSES = {
    ("stem", INT4): 0.5, ("stem", INT8): 2e-3, ("stem", FP16): 1e-7, ("stem", FP32): 0.0,
    ("head", INT4): 3e-5, ("head", Scheme(4, 64)): 1e-5, ("head", FP32): 0.0,
}  # fmt: skip


def make_report() -> SensitivityReport:
    rows = tuple(
        Row(
            name,
            "linear",
            scheme,
            loss,
            scheme.nbytes(10, 64),
            640,
            "shared" if scheme == FP16 else "",
        )
        for (name, scheme), loss in LOSSES.items()
    )
    return SensitivityReport(rows, "kl", 5000, 64, ("mix.weight",), ("head: no int3",))


def test_a_loss_is_found_by_layer_and_scheme() -> None:
    report = make_report()
    assert report.loss("stem", "int8") == 2e-3
    assert report.loss("head", Scheme(4, 64)) == 1e-5
    with pytest.raises(InputError, match=r"'head' in int8.*int4g64"):
        report.loss("head", "int8")
    with pytest.raises(InputError, match="a layer of"):
        report.loss("tail", "int8")


def test_its_options_can_be_allocated() -> None:
    options = make_report().options()
    chosen = allocate(options, max_bytes=1100)
    assert chosen.schemes == {"stem": INT8, "head": Scheme(4, 64)}


def test_schemes_that_break_the_output_are_no_option() -> None:
    broken = Row("stem", "linear", INT4, float("inf"), 1, 640)
    fine = Row("stem", "linear", FP32, 0.0, 2560, 640)
    report = SensitivityReport((broken, fine), "kl", 5000, 64)
    assert [option.scheme for option in report.options()["stem"]] == [FP32]


def test_the_table_shows_every_layer_scheme_and_remark() -> None:
    text = make_report().table(color=False)
    lines = text.splitlines()
    assert "KL in nats" in lines[0]
    assert "measured on 64 items" in lines[0]
    stem = next(line for line in lines if "stem" in line)
    assert "5.0e-01" in stem
    assert "2.0e-03" in stem
    assert next(line for line in lines if "int4g64" in line).index("int4g64") > 0
    assert {"fp16: shared", "head: no int3", "stays FP32: mix.weight"} <= set(map(str.strip, lines))
    assert "\x1b" not in text
    assert "\x1b[" in make_report().table(color=True)


def test_what_is_saved_can_be_read(tmp_path: Path) -> None:
    saved = json.loads(make_report().save(tmp_path / "report.json").read_text())
    assert saved["rows"][1] | {"layer": "stem", "scheme": "int8", "loss": 2e-3} == saved["rows"][1]


@pytest.mark.slow
def test_the_plot_is_a_picture(tmp_path: Path) -> None:
    from PIL import Image

    with Image.open(make_report().plot(tmp_path / "sensitivity.png")) as picture:
        assert picture.format == "PNG"
        assert picture.width > 1000
        assert len(picture.convert("RGB").getcolors(1 << 20) or ()) > 20


def test_without_matplotlib_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "is_installed", lambda module: module != "matplotlib")
    with pytest.raises(ModelError, match=r"anymodal\[plot\]"):
        make_report().plot(tmp_path / "sensitivity.png")

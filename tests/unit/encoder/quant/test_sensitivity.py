from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from encoder.errors import InputError, ModelError
from encoder.quant.allocate import allocate
from encoder.quant.calibration import CalibrationData
from encoder.quant.fisher import lookup_grams
from encoder.quant.inputs import grams
from encoder.quant.layers import find_layers
from encoder.quant.report import Row, SensitivityReport
from encoder.quant.rounding import gptq
from encoder.quant.schemes import FP16, FP32, INT3, INT4, INT5, INT6, INT8, Scheme
from encoder.quant.sensitivity import analyze, choose_objective


class Classifier(nn.Module):
    """A small picture classifier: a plain, a depthwise and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.depthwise = nn.Conv2d(16, 16, 3, groups=16)
        self.hidden = nn.Linear(16, 64)
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.depthwise(functional.relu(self.stem(x)))).mean((2, 3))
        logits: Tensor = self.head(functional.relu(self.hidden(x)))
        return logits


class Embedder(nn.Module):
    """Tokens to one vector, with a table that the data looks up only in part."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(500, 32)
        self.mix = nn.Linear(32, 32)

    def forward(self, ids: Tensor) -> Tensor:
        return torch.tanh(self.mix(self.table(ids))).mean(1)


@pytest.fixture
def classifier() -> tuple[Classifier, CalibrationData]:
    torch.manual_seed(0)
    model = Classifier().eval()
    model.head.weight.data *= 10
    return model, CalibrationData.split(list(torch.randn(48, 3, 8, 8).split(8)))


@pytest.fixture
def embedder() -> tuple[Embedder, CalibrationData]:
    torch.manual_seed(0)
    return Embedder().eval(), CalibrationData.split(list(torch.randint(0, 500, (32, 9)).split(8)))


def test_a_loss_is_the_divergence_with_one_layer_changed(
    classifier: tuple[Classifier, CalibrationData],
) -> None:
    model, data = classifier
    report = analyze(model, data, progress=False)
    gram = next(grams(model, {"hidden": find_layers(model)["hidden"]}, data.fit))["hidden"]
    original = model.hidden.weight.detach().clone()
    pixels = torch.cat(list(data.score))
    with torch.no_grad():
        p = model(pixels).double().log_softmax(-1)
        model.hidden.weight.copy_(gptq(original, INT4, gram).dequantize())
        q = model(pixels).double().log_softmax(-1)
        model.hidden.weight.copy_(original)
    expected = (p.exp() * (p - q)).sum(-1).mean().item()
    assert report.loss("hidden", "int4") == pytest.approx(expected, rel=1e-4)
    assert report.objective == "kl"
    assert report.n_items == 24


def test_every_layer_has_its_candidates(classifier: tuple[Classifier, CalibrationData]) -> None:
    report = analyze(*classifier, progress=False)
    assert report.layers == ["stem", "depthwise", "hidden", "head"]
    offered = {
        name: [row.scheme for row in report.rows if row.layer == name] for name in report.layers
    }
    assert offered["stem"] == offered["hidden"] == [INT3, INT4, INT5, INT6, INT8, FP16, FP32]
    assert offered["head"] == [INT3, INT4, Scheme(4, 64), INT5, INT6, INT8, FP16, FP32]
    assert offered["depthwise"] == [INT4, INT5, INT6, INT8, FP16, FP32]
    for name in report.layers:
        assert report.loss(name, INT4) > report.loss(name, INT8) > 0
        assert report.loss(name, FP32) == 0
        assert report.loss(name, FP16) < report.loss(name, INT8)


def test_groups_that_divide_no_row_are_left_out_and_named(
    classifier: tuple[Classifier, CalibrationData],
) -> None:
    report = analyze(*classifier, schemes=[Scheme(4, 64), INT8], progress=False)
    assert [row.scheme for row in report.rows if row.layer == "stem"] == [INT8, FP16, FP32]
    assert report.notes[0] == "stem: no int4g64, its rows have 27 values"


def test_the_model_comes_back_as_it_was(embedder: tuple[Embedder, CalibrationData]) -> None:
    model, data = embedder
    model.train()
    model.mix.weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    analyze(model, data, progress=False)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert model.training
    assert not model.mix.weight.requires_grad
    assert model.table.weight.requires_grad
    assert model.table.weight.grad is None


def test_a_table_is_judged_by_the_rows_that_are_looked_up(
    embedder: tuple[Embedder, CalibrationData],
) -> None:
    model, data = embedder
    report = analyze(model, data, objective="cosine", progress=False)
    ids = torch.cat(list(data.score))
    original = model.table.weight.detach().clone()
    tables = lookup_grams(model, find_layers(model, data.fit[0]), data.fit, "cosine")
    with torch.no_grad():
        before = model(ids).double()
        model.table.weight.copy_(gptq(original, INT4, tables["table"]).dequantize())
        after = model(ids).double()
        model.table.weight.copy_(original)
    expected = 1 - functional.cosine_similarity(before, after).mean().item()
    assert report.loss("table", "int4") == pytest.approx(expected, rel=1e-4)


def test_the_objective_follows_from_the_output() -> None:
    x = torch.randn(2, 4)
    linear, wrapped = nn.Linear(4, 3), nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))
    assert choose_objective(linear, x) == "kl"
    assert choose_objective(wrapped, x) == "kl"
    assert choose_objective(nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3)), x) == "cosine"
    assert choose_objective(nn.Sequential(nn.Linear(4, 3), nn.Tanh()), x) == "cosine"

    class WithLogits(nn.Module):
        def forward(self, x: Tensor) -> SimpleNamespace:
            return SimpleNamespace(logits=x * 2)

    assert choose_objective(WithLogits(), x) == "kl"


def test_weights_beyond_fp16_have_no_such_option() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 2))
    model[0].weight.data[0, 0] = 1e6
    report = analyze(model, CalibrationData.split(torch.randn(8, 8)), progress=False)
    assert FP16 not in [row.scheme for row in report.rows if row.layer == "0"]
    assert FP16 in [row.scheme for row in report.rows if row.layer == "1"]


def test_few_items_come_from_all_over_the_data(
    embedder: tuple[Embedder, CalibrationData],
) -> None:
    report = analyze(*embedder, schemes=[INT8], max_items=8, progress=False)
    assert report.n_items == 8


def test_a_model_that_gives_nan_is_refused(
    classifier: tuple[Classifier, CalibrationData],
) -> None:
    model, data = classifier
    model.head.bias.data[0] = float("nan")
    with pytest.raises(ModelError, match="itself returns NaN or infinity on batch 0"):
        analyze(model, data, progress=False)


def test_nothing_is_drawn_into_a_pipe(
    classifier: tuple[Classifier, CalibrationData], capfd: pytest.CaptureFixture[str]
) -> None:
    report: SensitivityReport = analyze(*classifier, progress=True)
    assert report.rows
    assert capfd.readouterr() == ("", "")


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
def test_a_notebook_shows_the_table_and_the_plot() -> None:
    report = make_report()
    html = report._repr_html_()
    assert all(name in html for name in (*report.layers, "int4"))
    assert html.rstrip().endswith("</svg>")


@pytest.mark.slow
def test_the_plot_is_a_picture(tmp_path: Path) -> None:
    from PIL import Image

    with Image.open(make_report().plot(tmp_path / "sensitivity.png")) as picture:
        assert picture.format == "PNG"
        assert picture.width > 1000
        assert len(picture.convert("RGB").getcolors(1 << 20) or ()) > 20

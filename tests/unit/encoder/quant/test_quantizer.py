"""The front door of quantization, on small real networks."""

from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from encoder import Quantizer
from encoder.errors import InputError, ModelError
from encoder.networks.bert import BertSize, SentenceBert
from encoder.quant.calibration import CalibrationData
from encoder.quant.quantized import model_nbytes


def classifier() -> nn.Sequential:
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.ReLU(),
        nn.Conv2d(16, 32, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
    ).eval()  # fmt: skip
    layers[9].weight.data *= 100  # outputs that differ, as in a trained network
    return layers


PIXELS = torch.randn(48, 3, 12, 12, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def quantizer() -> Quantizer:
    return Quantizer(classifier(), calibration=PIXELS, progress=False)


def test_auto_keeps_to_its_loss_as_measured(quantizer: Quantizer) -> None:
    quantized = quantizer.apply(config="auto")
    assert quantized.facts.objective == "kl"
    assert quantized.facts.loss <= 0.003
    assert quantized.compression > 2


@pytest.mark.parametrize(
    ("limits", "share"),
    [({"budget": "1/4"}, 1 / 4), ({"bits": 7.0}, 7 / 32), ({"budget": 3000}, 0)],
)
def test_a_budget_is_never_exceeded(
    quantizer: Quantizer, limits: dict[str, object], share: float
) -> None:
    quantized = quantizer.apply(**limits)
    limit = model_nbytes(classifier()) * share or 3000
    assert 0.6 * limit < quantized.nbytes <= limit


def test_the_reported_loss_is_on_data_that_fitted_nothing() -> None:
    data = CalibrationData(list(PIXELS[:24].split(8)), list(PIXELS[24:].split(8)))
    model = classifier()
    quantized = Quantizer(model, calibration=data, progress=False).apply("int4")
    with torch.inference_mode():
        p, q = (m(PIXELS[24:]).log_softmax(1) for m in (model, quantized))
    expected = (p.exp() * (p - q)).sum(1).mean().item()
    assert quantized.facts.loss == pytest.approx(expected, rel=1e-4)


def test_keep_pins_a_layer_by_its_name(quantizer: Quantizer) -> None:
    schemes = quantizer.apply(budget="1/3", keep={"9": "fp16"}).schemes
    assert schemes["9"].name == "fp16"
    assert min(scheme.bits for name, scheme in schemes.items() if name != "9") < 16


def test_an_explicit_mapping_leaves_the_rest_as_it_was(quantizer: Quantizer) -> None:
    quantized = quantizer.apply({"0": "int8", "9": "int4g32"})
    assert {name: s.name for name, s in quantized.schemes.items()} == {"0": "int8", "9": "int4g32"}
    assert isinstance(quantized.module[5].weight, nn.Parameter)


def test_a_loss_that_cannot_be_met_gives_the_most_exact(quantizer: Quantizer) -> None:
    schemes = quantizer.apply(max_loss=0.0).schemes
    assert {scheme.bits for scheme in schemes.values()} <= {16, 32}


def test_a_model_whose_inputs_nobody_knows_needs_data() -> None:
    model = nn.Sequential(nn.LSTM(8, 6), nn.Linear(6, 3))  # the LSTM gives a tuple: nothing runs
    quantizer = Quantizer(model, progress=False)
    assert quantizer.apply("int8").facts.loss is None
    for step in (quantizer.analyze_sensitivity, quantizer.apply, quantizer.export_onnx):
        with pytest.raises(InputError, match=r"needs data.*calibration=batches"):
            step()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["picture", "text"])
def test_the_articles_four_lines(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    size = BertSize(vocab_size=64, n_positions=40, hidden_dim=16, ffn_dim=32, n_layers=1, n_heads=2)
    model = classifier() if kind == "picture" else SentenceBert(size)

    quantizer = Quantizer(model)
    sensitivity = quantizer.analyze_sensitivity()
    quantized = quantizer.apply(config="auto")
    written = quantizer.export_onnx()

    assert sensitivity.is_estimate
    assert "estimated on 16 synthetic inputs" in sensitivity.table()
    assert quantized.facts.loss is not None
    assert "synthesized from the model" in quantized.facts.notes[-1]
    assert Path(written).resolve() == tmp_path / f"{type(model).__name__}.onnx"
    assert onnx.load(written).graph.node


@pytest.mark.parametrize(
    "wrong",
    [
        {"config": "int8", "bits": 4.0}, {"bits": 4.0, "max_loss": 0.1}, {"config": "int7"},
        {"budget": "a lot"}, {"bits": 99}, {"bits": 1}, {"bits": "4"},
        {"bits": 4.0, "keep": {"body": "fp16"}},
    ],
)  # fmt: skip
def test_wrong_limits_are_reported_before_anything_is_measured(
    quantizer: Quantizer, wrong: dict[str, object]
) -> None:
    with pytest.raises(InputError, match="Expected"):
        quantizer.apply(**wrong)
    assert quantizer.report is None


def test_a_model_without_layers_is_refused() -> None:
    with pytest.raises(InputError, match="without a layer that can be quantized"):
        Quantizer(nn.ReLU())


def test_a_forward_that_fails_names_the_batch() -> None:
    quantizer = Quantizer(classifier(), calibration=torch.randn(8, 4, 12, 12), progress=False)
    with pytest.raises(ModelError, match=r"calibration batch \(float32 \[4, 4, 12, 12\]\)"):
        quantizer.apply()


def test_batch_norms_are_folded_and_what_is_saved_loads(
    quantizer: Quantizer, tmp_path: Path
) -> None:
    quantized = quantizer.apply("int8")
    assert quantized.facts.folds == {"1": "0"}
    again = Quantizer.load(quantized.save(tmp_path), classifier)
    assert isinstance(again.module[1], nn.Identity)
    with torch.inference_mode():
        assert torch.equal(quantized(PIXELS), again(PIXELS))


def test_export_needs_an_applied_model(quantizer: Quantizer, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Expected a call of apply\(\) first"):
        quantizer.export_onnx(tmp_path / "model.onnx")


@pytest.mark.slow
def test_query_key_and_value_share_a_scheme() -> None:

    torch.manual_seed(0)
    size = BertSize(vocab_size=50, n_positions=16, hidden_dim=32, ffn_dim=64, n_layers=2, n_heads=4)
    ids = torch.randint(0, 50, (24, 8))
    batches = [{"input_ids": part, "mask": torch.ones(4, 8)} for part in ids.split(4)]
    quantizer = Quantizer(SentenceBert(size), calibration=batches, progress=False)
    schemes = quantizer.apply(bits=6.5).schemes
    assert quantizer.objective == "cosine"
    for i in range(2):
        assert len({schemes[f"layers.{i}.{part}"] for part in ("query", "key", "value")}) == 1


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
def test_other_floats_are_quantized_as_float32(dtype: str, tmp_path: Path) -> None:
    def make() -> nn.Module:
        return nn.Sequential(nn.Linear(8, 4)).to(getattr(torch, dtype))

    model = make()
    inputs = torch.randn(16, 8).to(model[0].weight.dtype)
    quantized = Quantizer(model, calibration=inputs, progress=False).apply("int8")
    again = Quantizer.load(quantized.save(tmp_path), make)
    assert model[0].weight.dtype == inputs.dtype
    assert torch.equal(again(inputs.float()), quantized(inputs.float()))


def test_a_model_in_training_stays_there_with_its_own_tensors() -> None:
    model = classifier().train()
    model[1].eval()  # frozen by its owner
    modes = [module.training for module in model.modules()]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    quantized = Quantizer(model, calibration=PIXELS, progress=False).apply("int8")
    assert quantized.facts.loss < 0.01, "dropout and batch norm ran as in training"
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("model", ["resnet50", None, nn.Linear])
def test_what_is_no_model_is_refused(model: nn.Module) -> None:
    with pytest.raises(InputError, match=r"model: got a \w+. Expected a torch.nn.Module"):
        Quantizer(model)

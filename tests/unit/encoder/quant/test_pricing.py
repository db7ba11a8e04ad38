"""Files of short codes: rounding at a price of a bit, and the price that a size needs."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from encoder import Quantizer
from encoder.errors import InputError
from encoder.networks.bert import BertSize, SentenceBert
from encoder.quant.allocate import BudgetWarning
from encoder.quant.calibration import run
from encoder.quant.inputs import Gram
from encoder.quant.layers import find_layers
from encoder.quant.pricing import Worth, at_price, code_lengths, narrowest, worths
from encoder.quant.quantized import WEIGHTS
from encoder.quant.rounding import descend, gptq
from encoder.quant.schemes import INT3, INT4, INT8
from encoder.quant.weights import Rounded, pack, shorten
from tests.unit.encoder.quant.rounded import random


def network() -> nn.Sequential:
    """Rows of a layer matter by very different amounts, as a trained network's do."""
    torch.manual_seed(0)
    wide, out = nn.Linear(96, 256), nn.Linear(256, 32)
    with torch.no_grad():
        out.weight.mul_(torch.logspace(-1.5, 0.5, 256))
    return nn.Sequential(wide, nn.ReLU(), out).eval()


INPUTS = random(256, 96) @ random(96, 96, seed=1) / 5


def bytes_of(rounded: Rounded) -> int:
    packed = pack(rounded.codes, 8)
    return shorten(packed, 8, rounded.codes.shape[1]).nbytes


def test_codes_at_a_price_are_shorter_at_the_same_loss() -> None:
    rows, x = random(96, 64), random(500, 64, seed=1) @ random(64, 64, seed=2)
    gram = Gram((x.T @ x / len(x))[None])
    errors = torch.logspace(-2, 0, 96)[:, None]
    left = gram.factor.diagonal(dim1=1, dim2=2).log().mean().mul(-2).exp()
    worth = Worth(errors, (6 / (0.693 * errors * left)).sqrt())

    def loss(rounded: Rounded) -> float:
        missed = (rows - rounded.dequantize()) @ gram.stable[0]
        return float((errors * missed * (rows - rounded.dequantize())).sum())

    by_width = descend(rows, gptq(rows, INT4, gram), INT4, gram)
    priced = next(
        made
        for made in (at_price(rows, worth, 1e-4 * 1.1**n, gram) for n in range(200))
        if bytes_of(made) <= bytes_of(by_width)
    )
    assert loss(priced) < 0.65 * loss(by_width)


def test_worth_is_what_a_small_error_loses() -> None:
    model = network()
    found = worths(model, find_layers(model), list(INPUTS.split(1)), "kl")
    before = run(model, INPUTS)
    predicted, measured = [], []
    for row in (120, 200, 255):
        step = 0.02 * random(96, seed=row)
        with torch.no_grad():
            model[0].weight[row] += step
            after = run(model, INPUTS)
            model[0].weight[row] -= step
        p, q = before.log_softmax(1), after.log_softmax(1)
        measured.append(float((p.exp() * (p - q)).sum(1).mean()))
        error = float((INPUTS @ step).square().mean())
        predicted.append(float(found["0"].errors[row]) * error)
    assert measured[0] < 0.1 * measured[2]
    ratios = torch.tensor(predicted) / torch.tensor(measured)
    assert ratios.log2().abs().max() < 1.2


def test_the_narrowest_scheme_holds_all_codes() -> None:
    assert narrowest(torch.tensor([-4, 3])) == INT3
    assert narrowest(torch.tensor([-4, 4])) == INT4
    assert narrowest(torch.tensor([-33, 0])) == INT8


def test_code_lengths_are_those_of_what_is_there() -> None:
    large = torch.arange(64).repeat(2)
    lengths = code_lengths(torch.stack([torch.tensor([0] * 96 + [1] * 32), large]))
    assert lengths[0, 128:130].tolist() == pytest.approx([0.415, 2.0], abs=0.05)
    assert lengths[1, 128:130].tolist() == pytest.approx([6, 6], abs=0.05)
    assert lengths[0, 0] > 10


@pytest.mark.parametrize("limit", [{"budget": "1/8"}, {"bits": 5.0}])
def test_the_file_keeps_to_the_budget_and_uses_it(limit: dict[str, object], tmp_path: Path) -> None:
    model = network()
    quantizer = Quantizer(model, calibration=INPUTS, objective="kl", progress=False)
    made = quantizer.apply(short=True, **limit)
    budget = made.facts.fp32_nbytes * (1 / 8 if "budget" in limit else 5 / 32)
    folder = made.save(tmp_path, short=True)
    assert 0.97 * budget < (folder / WEIGHTS).stat().st_size <= budget
    again = Quantizer.load(folder, network())
    assert torch.equal(run(again, INPUTS), run(made, INPUTS))


def test_short_files_lose_less_than_widths_do() -> None:
    quantizer = Quantizer(network(), calibration=INPUTS, objective="kl", progress=False)
    by_width = quantizer.apply("int4")
    priced = quantizer.apply(budget=by_width.short_nbytes, short=True)
    assert priced.facts.loss < 0.7 * by_width.facts.loss


def test_pinned_layers_keep_their_schemes() -> None:
    quantizer = Quantizer(network(), calibration=INPUTS, objective="kl", progress=False)
    made = quantizer.apply(budget="1/6", short=True, keep={"2": "fp16"})
    assert made.schemes["2"].name == "fp16"
    assert made.short_nbytes <= made.facts.fp32_nbytes / 6


def test_tables_and_attention_have_a_price_too() -> None:
    torch.manual_seed(0)
    size = BertSize(
        vocab_size=512, n_positions=16, hidden_dim=64, ffn_dim=128, n_layers=1, n_heads=2
    )
    ids = torch.randint(0, 512, (8, 4, 12), generator=torch.Generator().manual_seed(1))
    batches = [{"input_ids": rows, "mask": torch.ones_like(rows)} for rows in ids]
    quantizer = Quantizer(SentenceBert(size), batches, objective="cosine", progress=False)
    made = quantizer.apply(budget="1/7", short=True)
    assert 0.97 / 7 < made.short_nbytes / made.facts.fp32_nbytes <= 1 / 7
    assert {scheme.is_integer for scheme in made.schemes.values()} == {True}
    assert made.facts.loss < 0.05


def test_a_size_that_cannot_be_met_is_said() -> None:
    quantizer = Quantizer(network(), calibration=INPUTS, objective="kl", progress=False)
    with pytest.warns(BudgetWarning, match=r"500 bytes cannot be met: the file has \d+"):
        quantizer.apply(budget=500, short=True)


@pytest.mark.parametrize(
    "asked", [{}, {"max_loss": 0.1}, {"budget": "1/8", "target": "tensorrt"}, {"config": "int4"}]
)
def test_short_needs_a_size_and_no_target(asked: dict[str, object]) -> None:
    quantizer = Quantizer(network(), calibration=INPUTS, progress=False)
    with warnings.catch_warnings(), pytest.raises(InputError, match="short"):
        quantizer.apply(short=True, **asked)

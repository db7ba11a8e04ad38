import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.harness.command_line import chosen
from benchmarks.harness.reporting import Bar, vector_instructions
from benchmarks.harness.timing import Times
from benchmarks.peers.base import Inputs
from benchmarks.quant.__main__ import PARTS
from benchmarks.quant.allocation import average_bits, rounded
from benchmarks.quant.memory import percent_below
from benchmarks.quant.product import in_portions
from benchmarks.quant.quality import ways
from benchmarks.quant.quality.judge import classifier_figures, embedder_figures
from benchmarks.quant.speed import BASELINE, OURS, PORTIONED, best_of_ours
from encoder.quant.quantizer import Quantizer
from encoder.quant.schemes import FP16, INT4, INT8


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 4)).eval()


def test_all_parts_without_a_name_and_none_twice() -> None:
    assert chosen([], PARTS) == list(PARTS)
    assert chosen(["minilm"], PARTS) == ["minilm"]  # else it would call itself forever
    assert chosen(["speed", "speed-text"], PARTS) == ["speed-text", "speed-lite0", "speed-lite2"]


def test_an_unknown_part_is_refused_before_anything_runs() -> None:
    with pytest.raises(SystemExit, match="no part 'sped'"):
        chosen(["memory", "sped"], PARTS)


def test_a_bar_counts_its_ends_and_only_numbers() -> None:
    assert Bar(at_least=0.3).met(0.3)
    assert not Bar(at_most=1.0).met(1.01)
    assert not Bar(at_least=0.0).met(float("nan"))
    assert Bar(at_least=1.0, at_most=2.0).beside(3.0, ".0f") == "3 (≥ 1, ≤ 2: missed)"


def test_flags_of_the_cpu_are_reported() -> None:
    assert vector_instructions("fpu avx2 fma") == "with AVX2; without AVX512, VNNI, BF16"


def test_equal_logits_agree() -> None:
    logits, labels = torch.eye(3), np.array([0, 1, 0])
    figures = classifier_figures(logits, logits, labels)
    assert figures["kl"] == pytest.approx(0)
    assert figures["agreement"] == 1
    assert figures["top1"] == pytest.approx(2 / 3)
    assert figures["top1_change"] == 0


def test_a_title_that_loses_its_body_costs_recall() -> None:
    titles = torch.eye(2)
    moved = torch.cat([titles, titles.flip(0)])
    figures = embedder_figures(torch.cat([titles, titles]), moved)
    assert figures["recall_at_1"] == 0
    assert figures["recall_change"] == -1
    assert figures["cosine"] == pytest.approx(0.5)
    assert figures["cosine_min"] == pytest.approx(0)


def test_bytes_are_those_of_the_quantized_model(model: nn.Module) -> None:
    schemes = {"0": INT4, "2": FP16}
    quantized = Quantizer(model).apply(schemes)
    assert ways.nbytes_of(model, schemes) == quantized.nbytes


def test_layers_without_a_scheme_are_rounded_to_eight_bits(model: nn.Module) -> None:
    batches = [{"input": torch.randn(32, 16)} for _ in range(2)]
    changed = rounded(model, {"0": INT4}, batches)
    whole = rounded(model, {"0": INT4, "2": INT8}, batches)
    assert not torch.equal(changed[2].weight, model[2].weight)
    assert torch.equal(changed[2].weight, whole[2].weight)


def test_average_bits_weigh_layers_by_their_values(model: nn.Module) -> None:
    assert average_bits(model, {"0": INT8, "2": INT4}) == pytest.approx((128 * 8 + 32 * 4) / 160)


def test_portions_give_the_same_rows() -> None:
    rows = torch.arange(14.0).reshape(7, 2)
    seen = []

    def run(inputs: Inputs) -> torch.Tensor:
        seen.append(len(inputs["x"]))
        return inputs["x"] + 1

    torch.testing.assert_close(in_portions(run, 3)({"x": rows}), rows + 1)
    assert seen == [3, 3, 1]


def test_the_faster_of_our_ways_is_judged() -> None:
    seconds = np.array([[9.0, 9.0], [3.0, 3.0], [2.0, 2.0]])
    assert best_of_ours(Times((BASELINE, OURS, PORTIONED), seconds)) == PORTIONED


def test_memory_below_a_baseline() -> None:
    assert percent_below(70, 100) == pytest.approx(30)


def test_short_codes_count_as_a_whole_file() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(256, 128)
    nn.init.normal_(layer.weight)
    made = Quantizer(nn.Sequential(layer), objective="cosine").apply("int8")
    n_codes, n_others = 256 * 128, 128 * (4 + 2)
    nbytes = made.short_nbytes
    assert 0.8 * n_codes < nbytes - n_others < n_codes

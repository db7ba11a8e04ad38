"""Whatever exported a network: every layer becomes integers, and vectors stay what they were."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from encoder.networks.bert import SentenceBert
from encoder.onnx.quantize import quantize_linears
from encoder.runtime.onnx import OnnxSession
from encoder.runtime.trial import least_cosine

from .conftest import SIZE, texts

FORMS = ("dynamo", "torchscript")
PARTS = ("query", "key", "value", "attention_out", "ffn_in", "ffn_out")
LAYERS = {f"layers.{i}.{part}" for i in range(SIZE.n_layers) for part in PARTS}


@pytest.fixture(scope="module")
def rewritten(exports: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rewritten")
    for form in FORMS:
        for bits in (8, 4):
            source, target = exports / f"{form}.onnx", folder / f"{form}-{bits}.onnx"
            report = quantize_linears(source, target, weight_bits=bits)
            assert {*report.quantized} == LAYERS | {"word"}
            assert not report.skipped
            assert target.stat().st_size < source.stat().st_size / 3
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("bits", "cosine"), [(8, 0.999), (4, 0.98)])
def test_vectors_stay_close(
    sentence_bert: SentenceBert, rewritten: Path, form: str, bits: int, cosine: float
) -> None:
    session = OnnxSession(rewritten / f"{form}-{bits}.onnx", n_threads=1)
    for lengths in ((1,), (40,), (12, 12), (3, 30, 17)):
        inputs = texts(*lengths)
        with torch.inference_mode():
            wanted = sentence_bert(*map(torch.from_numpy, inputs.values()))
        assert least_cosine([wanted.numpy()], session.run(inputs)) > cosine


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("bits", [8, 4])
def test_neighbours_and_padding_do_not_change_a_text(rewritten: Path, form: str, bits: int) -> None:
    session = OnnxSession(rewritten / f"{form}-{bits}.onnx", n_threads=1)
    together = texts(5, 31, 18, n_padded=4)
    (rows,) = session.run(together)
    for i, length in enumerate((5, 31, 18)):
        alone = {name: value[i : i + 1, :length] for name, value in together.items()}
        assert least_cosine([rows[i : i + 1]], session.run(alone)) > 0.99999


@pytest.mark.parametrize("form", FORMS)
def test_layers_that_read_the_same_share_its_codes(rewritten: Path, form: str) -> None:
    graph = onnx.load(rewritten / f"{form}-8.onnx").graph
    ops = Counter(node.op_type for node in graph.node)
    assert ops["MatMulIntegerToFloat"] == len(LAYERS)
    assert ops["QuantizeLinear"] == 4 * SIZE.n_layers  # q, k, v read one


def test_the_file_reveals_nothing_of_the_machine_that_exported_it(rewritten: Path) -> None:
    content = (rewritten / "dynamo-8.onnx").read_bytes()
    assert b"site-packages" not in content
    assert b".py" not in content


def test_codes_are_the_layers_rounded(sentence_bert: SentenceBert, rewritten: Path) -> None:
    """Rows of the token table are within half a step."""
    graph = onnx.load(rewritten / "dynamo-8.onnx").graph
    arrays = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    codes = next(a for a in arrays.values() if a.shape == (SIZE.vocab_size, SIZE.hidden_dim))
    scales = next(a for a in arrays.values() if a.shape == (SIZE.vocab_size, 1))
    miss = np.abs(codes * scales - sentence_bert.word.weight.detach().numpy())
    assert codes.dtype == np.int8
    assert (miss <= scales * 0.501).all()

"""The int8 sentence encoder: close to float, exact on every CPU, the same in every batch."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from encoder.networks.bert import SentenceBert, arrays_of
from encoder.onnx.build_bert import write_bert
from encoder.onnx.codes import quantize_rows
from encoder.onnx.graph import MICROSOFT, Graph
from encoder.onnx.quantize import quantize_linears
from encoder.runtime.onnx import OnnxSession
from encoder.runtime.trial import least_cosine

from .conftest import SIZE, texts

RNG = np.random.default_rng(0)


def int8_bert(model: SentenceBert, folder: Path) -> Path:
    write_bert(arrays_of(model), folder / "model.onnx")
    quantize_linears(folder / "model.onnx", folder / "model.int8.onnx")
    return folder / "model.int8.onnx"


@pytest.fixture(scope="module")
def network(sentence_bert: SentenceBert, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return int8_bert(sentence_bert, tmp_path_factory.mktemp("int8"))


@pytest.fixture(scope="module")
def session(network: Path) -> OnnxSession:
    return OnnxSession(network, n_threads=1)


@pytest.mark.parametrize("lengths", [(1,), (40,), (12, 12), (3, 30, 17)])
def test_it_is_close_to_the_float_network(
    sentence_bert: SentenceBert, session: OnnxSession, lengths: tuple[int, ...]
) -> None:
    inputs = texts(*lengths)
    with torch.inference_mode():
        wanted = sentence_bert(*map(torch.from_numpy, inputs.values()))

    assert least_cosine([wanted.numpy()], session.run(inputs)) > 0.999


def test_neighbours_and_padding_do_not_change_a_text(session: OnnxSession) -> None:
    together = texts(5, 31, 18, n_padded=4)
    (rows,) = session.run(together)

    for i, length in enumerate((5, 31, 18)):
        alone = {name: value[i : i + 1, :length] for name, value in together.items()}
        assert least_cosine([rows[i : i + 1]], session.run(alone)) > 0.999999


def test_attention_that_gives_nothing_adds_nothing(tmp_path: Path) -> None:
    """A token of zeros has no scale to be divided by."""
    torch.manual_seed(1)
    model = SentenceBert(SIZE).eval()
    with torch.no_grad():
        for layer in model.layers:
            layer.value.weight.zero_()
            layer.value.bias.zero_()
            layer.attention_out.bias.zero_()
    path = int8_bert(model, tmp_path)
    inputs = texts(7, 12)
    with torch.inference_mode():
        wanted = model(*map(torch.from_numpy, inputs.values()))
    found = OnnxSession(path, n_threads=1).run(inputs)
    assert least_cosine([wanted.numpy()], found) > 0.999


def test_weights_are_stored_in_bytes(network: Path) -> None:
    model = onnx.load(network)
    onnx.checker.check_model(model)
    floats = [c.dims for c in model.graph.initializer if c.data_type == onnx.TensorProto.FLOAT]
    matrices = [dims for dims in floats if len(dims) == 2 and min(dims) > 1]
    # positions are the largest that stays
    assert max(map(np.prod, matrices)) == SIZE.n_positions * SIZE.hidden_dim


@example(np.array([[1e-45]], np.float32))
@given(
    arrays(
        np.float32,
        st.tuples(st.integers(1, 4), st.integers(1, 9)),
        elements=st.floats(-(2.0**9), 2.0**9, width=32),
    )
)
def test_codes_are_near_and_never_saturate(weight: np.ndarray) -> None:
    codes, scales = quantize_rows(weight)

    wide = codes.astype(int)
    assert np.abs(wide).max() <= 127
    assert np.abs(wide[:, :-1] + wide[:, 1:]).max(initial=0) <= 128
    step = scales[:, None] * (0.5 + 1e-4)
    assert (np.abs(wide * scales[:, None] - weight) <= step).all()


@pytest.mark.parametrize("sign", [1, -1])
def test_this_cpu_multiplies_exactly(tmp_path: Path, sign: int) -> None:
    """All codes at their extremes: the greatest sums that a kernel can meet."""
    n_in, n_out = 384, 64
    weight = sign * np.ones((n_out, n_in), np.float32)
    weight[1::2, ::2] = -0.01
    codes, scales = quantize_rows(weight)
    states = np.full((7, n_in), 255, np.uint8)
    states[1::2] = RNG.integers(0, 256, states[1::2].shape)
    graph = Graph()
    product = graph.add(
        "MatMulIntegerToFloat", "states", graph.constant(codes.T),
        graph.constant(np.float32(1)), graph.constant(np.ones_like(scales)),
        graph.constant(np.uint8(0)), domain=MICROSOFT,
    )  # fmt: skip
    path = tmp_path / "product.onnx"
    graph.save(path, {"states": (np.uint8, ("n", n_in))}, {"out": (product, ("n", n_out))})

    (found,) = onnxruntime.InferenceSession(path).run(None, {"states": states})

    assert np.array_equal(found, states.astype(int) @ codes.T.astype(int))

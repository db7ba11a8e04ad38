"""A BERT text encoder with mean pooling, as arrays; `encoder.networks.bert` has it in torch.

Its token table may stay packed: four bits a value, converted to floats row by row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from encoder.onnx.graph import Graph

Array32 = NDArray[np.float32]
Value = TypeVar("Value")

INPUTS = {"input_ids": np.int64, "mask": np.float32}
"""What the graph takes: token ids, and 1 for a token, 0 for padding; [n, length]."""


@dataclass(frozen=True)
class BertSize:
    """The numbers that define the architecture; the defaults are those of MiniLM-L6-H384.

    >>> BertSize(n_layers=12).n_layers
    12
    """

    vocab_size: int = 30522
    n_positions: int = 512
    hidden_dim: int = 384
    ffn_dim: int = 1536
    n_layers: int = 6
    n_heads: int = 12
    norm_eps: float = 1e-12


@dataclass(frozen=True, eq=False)
class Bert:
    """A text encoder's size and weights.

    Args:
        size: of the architecture.
        weights: by the names of `encoder.networks.bert.SentenceBert`; a linear layer's weight is
            [n_out, n_in].
        words: the token table if it is packed; otherwise it is among the weights.
    """

    size: BertSize
    weights: Mapping[str, Array32]
    words: PackedTable | None = None


def read_bert(folder: Path) -> Bert:
    """Read ``config.json`` and ``model.safetensors`` of ``folder``."""
    from safetensors.numpy import load_file

    size = read_size(folder / "config.json")
    return Bert(size, rename_weights(load_file(folder / "model.safetensors"), size.n_layers))


def read_size(config_path: Path) -> BertSize:
    """Read the architecture's numbers from a Hugging Face ``config.json``."""
    config = json.loads(config_path.read_text("utf-8"))
    return BertSize(
        vocab_size=config["vocab_size"],
        n_positions=config["max_position_embeddings"],
        hidden_dim=config["hidden_size"],
        ffn_dim=config["intermediate_size"],
        n_layers=config["num_hidden_layers"],
        n_heads=config["num_attention_heads"],
        norm_eps=config["layer_norm_eps"],
    )


_TOP_NAMES = {
    "embeddings.word_embeddings": "word",
    "embeddings.position_embeddings": "position",
    "embeddings.token_type_embeddings": "token_type",
    "embeddings.LayerNorm": "norm",
}
_LAYER_NAMES = {
    "attention.self.query": "query",
    "attention.self.key": "key",
    "attention.self.value": "value",
    "attention.output.dense": "attention_out",
    "attention.output.LayerNorm": "attention_norm",
    "intermediate.dense": "ffn_in",
    "output.dense": "ffn_out",
    "output.LayerNorm": "ffn_norm",
}


def rename_weights(checkpoint: Mapping[str, Value], n_layers: int) -> dict[str, Value]:
    """Map a BERT checkpoint's names to those of `Bert`; the rest (pooler) is left out."""
    modules = dict(_TOP_NAMES)
    for i in range(n_layers):
        modules |= {
            f"encoder.layer.{i}.{old}": f"layers.{i}.{new}" for old, new in _LAYER_NAMES.items()
        }
    return {
        f"{new}.{parameter}": checkpoint[f"{old}.{parameter}"]
        for old, new in modules.items()
        for parameter in ("weight", "bias")
        if f"{old}.{parameter}" in checkpoint
    }


_ZERO = 8
_LOW, _BITS = 15, 4
_FLOAT = 1
"""ONNX's code for this type."""
_AT_ONCE = 1 << 14


@dataclass(frozen=True, eq=False)
class PackedTable:
    """A table [n_rows, n_columns] in blocks: a value is its scale times (its code - 8).

    Args:
        codes: uint8 [n_rows, n_blocks, n / 2], n values to a block. The low four bits of byte j
            are the code of the block's value j, the high four bits the code of value j + n / 2
            (the layout of ``Q4_0`` in ggml).
        scales: float16 [n_rows, n_blocks].
    """

    codes: NDArray[np.uint8]
    scales: NDArray[np.float16]

    @property
    def n_columns(self) -> int:
        """Values in a row."""
        return 2 * int(np.prod(self.codes.shape[1:]))

    def rows(self, ids: NDArray[np.integer] | slice) -> NDArray[np.float32]:
        """Rows as floats, [n, n_columns]."""
        codes = self.codes[ids]
        whole = np.concatenate([codes & _LOW, codes >> _BITS], axis=-1).astype(np.float32)
        values = (whole - _ZERO) * self.scales[ids].astype(np.float32)[..., None]
        return values.reshape(-1, self.n_columns)

    def unpacked(self) -> NDArray[np.float32]:
        """All rows as floats, which take 7 times as much memory."""
        n_rows = len(self.codes)
        table = np.empty((n_rows, self.n_columns), np.float32)
        for start in range(0, n_rows, _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            table[some] = self.rows(some)
        return table


def look_up_packed(graph: Graph, table: PackedTable, ids: str) -> str:
    """Look up rows: ``ids`` [n, length] to float32 [n, length, n_columns]; standard operators."""
    codes = graph.add("Gather", graph.constant(table.codes, "word.codes"), ids)
    low = graph.add("BitwiseAnd", codes, graph.constant(np.uint8(_LOW)))
    high = graph.add("BitShift", codes, graph.constant(np.uint8(_BITS)), direction="RIGHT")
    whole = graph.add("Cast", graph.add("Concat", low, high, axis=-1), to=_FLOAT)
    centred = graph.add("Sub", whole, graph.constant(np.float32(_ZERO)))
    scales = graph.add("Gather", graph.constant(table.scales[..., None], "word.scales"), ids)
    values = graph.add("Mul", centred, graph.add("Cast", scales, to=_FLOAT))
    return graph.add("Reshape", values, graph.ints(0, 0, table.n_columns))

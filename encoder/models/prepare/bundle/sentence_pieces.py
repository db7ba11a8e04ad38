"""Write a unigram model's ``tokenizer.json`` in the form that SentencePiece reads."""

from __future__ import annotations

import base64
import json
from importlib import import_module
from pathlib import Path
from typing import Any

from encoder.errors import ModelError

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
        about: dict[str, Any] = json.loads(tokenizer.read_text("utf-8"))
        vocabulary = about["model"]["vocab"]
        special = {one["content"] for one in about["added_tokens"]}
        charsmap = base64.b64decode(_charsmap(about["normalizer"]))
        ids = {name: vocabulary.index([mark, 0.0]) for mark, name in _MARKS.items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{tokenizer} is not a unigram tokenizer: {error!r}.",
            remedy="Run `anymodal bundle fetch`.",
        ) from error
    model = form.ModelProto()
    piece = form.ModelProto.SentencePiece
    for text, score in vocabulary:
        kind = piece.CONTROL if text in special else piece.NORMAL
        model.pieces.add(piece=text, score=score, type=piece.UNKNOWN if text == "<unk>" else kind)
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
    (found,) = (step["precompiled_charsmap"] for step in steps if step["type"] == "Precompiled")
    return str(found)

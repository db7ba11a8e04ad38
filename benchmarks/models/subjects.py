"""Models of the published sizes with random weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
import transformers

from encoder.prepare.hub.check import picture, sound
from tests.support import tiny_models as tiny

_BASE = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 514,
}
_SMALL = {**_BASE, "hidden_size": 384, "intermediate_size": 1536, "vocab_size": 30_522}
_MODERN = {
    **_BASE,
    "intermediate_size": 1152,
    "num_hidden_layers": 22,
    "max_position_embeddings": 8192,
    "vocab_size": 50_368,
}
_QWEN3 = {
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 32_768,
    "vocab_size": 151_669,
}


def _text(kind: str, sizes: Mapping[str, int]) -> Callable[[Path], None]:
    return partial(tiny.save_text_encoder, kind=kind, **sizes)


SUBJECTS: Mapping[str, Callable[[Path], None]] = {
    "EmbeddingGemma 2": partial(tiny.save_embedding_gemma, published=True),
    "CLIP B/32": partial(tiny.save_clip, config=transformers.CLIPConfig()),
    "SigLIP 2 base": partial(tiny.save_siglip2, config=transformers.Siglip2Config()),
    "CLAP": partial(tiny.save_clap, published=True),
    "bge-small": _text("bert", _SMALL),
    "all-mpnet-base": _text("mpnet", {**_BASE, "vocab_size": 30_527}),
    "multilingual-e5-base": _text("xlm-roberta", {**_BASE, "vocab_size": 250_002}),
    "ModernBERT-base": _text("modernbert", _MODERN),
    "nomic-embed-text": _text("nomic_bert", {**_BASE, "vocab_size": 30_528}),
    "Qwen3-Embedding-0.6B": _text("qwen3", _QWEN3),
}


def save(name: str, folder: Path) -> Path:
    """Make the model called ``name``, the same in each run."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        SUBJECTS[name](folder)
    return folder


def contents() -> Mapping[str, object]:
    """One item of each modality; the text has about 256 tokens, one for each letter."""
    letters = np.random.default_rng(0).choice(list("abcdefghij "), 270)
    return {
        "text": "".join(letters).strip(),
        "image": picture(0, 480, 640),
        "audio": sound(0, 5.0),
    }

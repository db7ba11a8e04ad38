"""A cross-encoder in int8, compared with float32."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from encoder.errors import ModelError
from encoder.models.artifacts.artifact import Progress
from encoder.models.prepare.hub.graphs import Network, export
from encoder.onnx.quantize import quantize_linears
from encoder.rerank.cross_encoder import GRAPH, TOKENIZER, open_folder

_PAIRS = (
    ("How do I reset my password?", "Open the settings, choose Account, then New password."),
    ("How do I reset my password?", "The garden behind the library was sold."),
    ("capital of France", "Paris is the seat of the French government."),
)
_WORST = 0.05
"""The largest difference from float32 that a score, 0 to 1, may have on `_PAIRS`."""


def prepare_cross_encoder(
    name: str, folder: Path, target: Path, progress: Progress
) -> Mapping[str, Any]:
    """Export a model, quantize it, and compare it with float32.

    Args:
        name: of the model, for errors.
        folder: its files.
        target: an empty folder; `encoder.rerank.cross_encoder.open_folder` opens it.
        progress: called with the stage and the share done.

    Returns:
        ``measured``: the largest difference of a score from float32.

    Raises:
        ModelError: it is not a model with one label, cannot be exported, or loses too much.
    """
    progress("load", 0.0)
    model, tokenizer = _loaded(name, folder)
    tokenizer.backend_tokenizer.save(str(target / TOKENIZER))
    progress("export", 0.2)
    floats = target / "float32"
    floats.mkdir()
    shutil.copy(target / TOKENIZER, floats)
    export(name, _network(model, tokenizer), floats / GRAPH)
    progress("quantize", 0.6)
    quantize_linears(floats / GRAPH, target / GRAPH)
    exact, made = (open_folder(name, one) for one in (floats, target))
    worst = max(
        float(np.abs(exact.scores(q, [text]) - made.scores(q, [text])).max()) for q, text in _PAIRS
    )
    shutil.rmtree(floats)
    if worst > _WORST:
        raise ModelError(
            f"{name} in int8: a score differs by {worst:.3f} from float32, more than {_WORST}.",
            remedy="Export it yourself and name the folder.",
        )
    return {"measured": {"largest_difference": worst}}


def _loaded(name: str, folder: Path) -> tuple[Any, Any]:
    """The model, of one label, and its tokenizer."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    try:
        model = AutoModelForSequenceClassification.from_pretrained(
            folder, use_safetensors=True, dtype=torch.float32, attn_implementation="eager"
        ).eval()
        tokenizer = AutoTokenizer.from_pretrained(folder)
    # whatever the library may raise on other people's files
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise ModelError(
            f"{name} cannot be loaded as a cross-encoder: {reason[:300]}.",
            remedy="Use a text classification model with safetensors.",
        ) from error
    if model.config.num_labels != 1:
        raise ModelError(
            f"{name} has {model.config.num_labels} labels.", remedy="A cross-encoder has one."
        )
    return model, tokenizer


def _network(model: Any, tokenizer: Any) -> Network:
    import torch

    class Pairs(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, features: dict[str, torch.Tensor]) -> torch.Tensor:
            logits: torch.Tensor = self.model(**features).logits
            return logits

    def features(pairs: Any) -> dict[str, torch.Tensor]:
        questions, texts = zip(*pairs, strict=True)
        return dict(tokenizer(list(questions), list(texts), padding=True, return_tensors="pt"))

    traced = features(_PAIRS[:2])
    axes = dict.fromkeys(traced, (0, 1))
    return Network(Pairs().eval(), traced, axes, [features(_PAIRS[2:])])

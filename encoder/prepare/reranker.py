"""From a reranker's name to the reranker."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from encoder.errors import ModelError
from encoder.models import artifacts
from encoder.models.artifacts import ArtifactKey, Progress
from encoder.models.reranker import GRAPH, TOKENIZER, CrossEncoder, open_folder
from encoder.models.sources import locate
from encoder.models.spec import ModelSpec
from encoder.onnx.quantize import quantize_linears
from encoder.prepare.hub.graphs import TracedNetwork, export
from encoder.prepare.prepared import tell
from encoder.system.extras import require

_PRECISION = "int8 pairs"
"""Not a precision of models that embed, so that neither is taken for the other."""
_TOOLS = ("torch", "transformers", "onnxscript")


def open_reranker(name: str, n_threads: int | None = None) -> CrossEncoder:
    """Open a cross-encoder; one that comes as weights is prepared first, in int8.

    Args:
        name: ``hf:org/name@revision`` or ``dir:path``: a model for text classification with one
            label, which sentence-transformers calls CrossEncoder. A folder with ``model.onnx`` and
            ``tokenizer.json`` runs as it is.
        n_threads: threads of one run; None for every core.

    Raises:
        ModelError: it cannot be found, opened or prepared.
    """
    spec = ModelSpec.parse(name)
    if spec.kind == "bundle":
        raise ModelError(f"{name} has no reranker.", remedy="Set one: hf:org/name or dir:path.")
    if spec.kind == "dir" and (Path(spec.name) / GRAPH).is_file():
        return open_folder(str(spec), Path(spec.name), n_threads)
    source = locate(spec)
    key = ArtifactKey(Path(spec.name).name, source.identity, _PRECISION)
    artifact = artifacts.find(key)
    if artifact is None:
        require(f"Preparing {name}", *_TOOLS)

        def write(folder: Path, report: Progress) -> Mapping[str, Any]:

            return prepare_cross_encoder(name, source.folder, folder, report)

        artifact = artifacts.make(key, write, tell, spec=str(spec))
    return open_folder(str(spec), artifact.folder, n_threads)


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
    exact, quantized = (open_folder(name, network_folder) for network_folder in (floats, target))
    worst = max(
        float(np.abs(exact.scores(q, [text]) - quantized.scores(q, [text])).max())
        for q, text in _PAIRS
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


def _network(model: Any, tokenizer: Any) -> TracedNetwork:
    import torch

    class PairNetwork(torch.nn.Module):
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
    return TracedNetwork(PairNetwork().eval(), traced, axes, [features(_PAIRS[2:])])

"""How near a quantized model's output is to the original's: figures, and how to get outputs.

Importing this imports torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.harness.ranking_measures import first_ranks, recall_at
from encoder.quant.calibration import Batch, cosine_loss, kl_divergence, run

Figures = Mapping[str, float]


def classifier_figures(original: Tensor, quantized: Tensor, labels: NDArray[np.int64]) -> Figures:
    """Figures from logits [n, n_classes] and the true classes [n].

    Returns:
        ``kl`` in nats, mean; ``agreement``, the share of equal first choices; ``top1`` and
        ``top1_change``, the share of correct first choices and its change.
    """
    first, second = original.argmax(1).numpy(), quantized.argmax(1).numpy()
    top1 = float((second == labels).mean())
    return {
        "kl": float(kl_divergence(original.double(), quantized.double()).mean()),
        "agreement": float((first == second).mean()),
        "top1": top1,
        "top1_change": top1 - float((first == labels).mean()),
    }


def embedder_figures(original: Tensor, quantized: Tensor) -> Figures:
    """Figures from embeddings [2 n, d]: n titles, then the n bodies that answer them.

    Returns:
        ``cosine`` to the original, mean, and ``cosine_min``, over all texts; ``recall_at_1`` of
        each title's body among all bodies, and its ``recall_change``.
    """
    cosines = 1 - cosine_loss(original.double(), quantized.double())
    before, after = _recall_at_1(original), _recall_at_1(quantized)
    return {
        "cosine": float(cosines.mean()),
        "cosine_min": float(cosines.min()),
        "recall_at_1": after,
        "recall_change": after - before,
    }


def _recall_at_1(embeddings: Tensor) -> float:
    units = nn.functional.normalize(embeddings, dim=1).numpy()
    titles, bodies = np.split(units, 2)
    return recall_at(first_ranks(titles @ bodies.T, np.eye(len(titles), dtype=bool)), 1)


def outputs(model: nn.Module, batches: Sequence[Batch]) -> Tensor:
    """The model's outputs for all batches, float32 [n, d]."""
    return torch.cat([run(model, batch) for batch in batches])


def remembered(
    folder: Path, model: nn.Module, asked: Mapping[str, str], judge: Callable[[], Figures]
) -> Figures:
    """Figures of a model with exactly these weights, measured once for all runs.

    Args:
        folder: where they are kept.
        model: its weights are part of the key.
        asked: what else the figures depend on.
        judge: measures them.
    """
    kept = folder / "figures" / f"{key_of(model, {}, asked)}.json"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(judge()), "utf-8")
    figures: dict[str, float] = json.loads(kept.read_text("utf-8"))
    return figures


def key_of(
    model: nn.Module, batches: Mapping[str, list[Batch]], settings: Mapping[str, Any]
) -> str:
    """A hash of all that a measurement depends on: weights, data, settings."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(json.dumps(settings, sort_keys=True).encode())
    digest.update(type(model).__qualname__.encode())
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        _feed(digest, name, tensor)
    for name, part in batches.items():
        _feed(digest, name, part)
    return digest.hexdigest()


def _feed(digest: Any, name: str, value: Any) -> None:
    if isinstance(value, Tensor):
        digest.update(f"{name} {value.dtype} {list(value.shape)}".encode())
        flat = value.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _feed(digest, f"{name}.{key}", item)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            _feed(digest, f"{name}.{index}", item)
    else:
        digest.update(f"{name} {value!r}".encode())

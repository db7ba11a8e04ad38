"""Measurements that survive a stopped run: one line of JSON each, in a file named by its key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from torch import nn

    from encoder.quant.calibration import Batch

_REVISION = 2
"""Raise it when the same layer in the same scheme would give a different loss."""


class Journal:
    """Losses that are known, by layer and scheme.

    Args:
        path: of the file; None to keep losses in memory only. A line that cannot be read, such as
            the last one of a killed run, is skipped: its loss is measured again.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._losses: dict[tuple[str, str], float] = {}
        if path is not None and path.exists():
            self._read(path)

    def get(self, layer: str, scheme: str) -> float | None:
        """A loss, if it is known."""
        return self._losses.get((layer, scheme))

    def add(self, layer: str, scheme: str, loss: float) -> None:
        """Record a loss and write it to disk at once."""
        self._losses[layer, scheme] = loss
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            line = json.dumps({"layer": layer, "scheme": scheme, "loss": loss})
            # a line break comes first too, lest a killed run's unfinished line join this one
            with self._path.open("a", encoding="utf-8") as file:
                file.write(f"\n{line}\n")

    def _read(self, path: Path) -> None:
        for line in path.read_text("utf-8", errors="replace").splitlines():
            try:
                row = json.loads(line)
                self._losses[str(row["layer"]), str(row["scheme"])] = float(row["loss"])
            except (ValueError, KeyError, TypeError):
                continue


def key_of(
    model: nn.Module, batches: Mapping[str, list[Batch]], settings: Mapping[str, Any]
) -> str:
    """A hash of all that a measurement depends on: weights, data, settings."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(json.dumps({**settings, "revision": _REVISION}, sort_keys=True).encode())
    digest.update(type(model).__qualname__.encode())
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        _feed(digest, name, tensor)
    for name, each in batches.items():
        _feed(digest, name, each)
    return digest.hexdigest()


def _feed(digest: Any, name: str, value: Any) -> None:
    if isinstance(value, Tensor):
        import torch

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

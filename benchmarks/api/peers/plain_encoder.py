"""`anymodal serve` without its optimisations: float32 in torch, no batching, no cache.

Run by ``python -m benchmarks.api.peers.plain_encoder``. Its vectors are close to the store's, and
only its time is measured.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.pipeline.plain_script import torch_model
from encoder import MultiModalEncoder
from encoder.types import Embeddings, Item
from search.api.config import ApiConfig
from workers.cli import anymodal
from workers.serving.resources import Resources

NO_HELP = {"batch_items": 1, "embedding_cache_bytes": 0}
"""Constants of the API under which each query is encoded by itself."""


class TorchEncoder(MultiModalEncoder):
    """Encodes into the served encoder's space, with the towers in torch."""

    def __init__(self) -> None:
        super().__init__(quantization="auto", enable_dsre="auto")
        self._torch = torch_model()

    def encode_items(self, items: Sequence[Item]) -> Embeddings:
        """See `MultiModalEncoder.encode_items`."""

        def encode(item: Item) -> Any:
            tower = self._torch.towers[item.modality]
            return tower.forward([tower.prepare(item.content)]).rows[0]

        return np.stack([encode(item) for item in items])


if __name__ == "__main__":
    for name, value in NO_HELP.items():
        ApiConfig.model_fields[name].default = value
    ApiConfig.model_rebuild(force=True)
    Resources._load_encoder = lambda _: TorchEncoder()  # type: ignore[method-assign]
    anymodal.main(["serve", *sys.argv[1:]])

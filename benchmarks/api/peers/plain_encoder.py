"""`anymodal serve` without its optimisations: float32 in torch, no batching, no cache.

Run by ``python -m benchmarks.api.peers.plain_encoder``. Its vectors are close to the store's, and
only its time is measured.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.pipeline.plain_script import torch_model
from encoder import MultiModalEncoder
from encoder.types import Embeddings, Item
from workers.cli import anymodal
from workers.serving.resources import Resources

SETTINGS = {
    "ANYMODAL_API__BATCH_ITEMS": "1",
    "ANYMODAL_API__EMBEDDING_CACHE_BYTES": "0",
}


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
    os.environ.update(SETTINGS)
    Resources._load_encoder = lambda _: TorchEncoder()  # type: ignore[method-assign]
    anymodal.main(["serve", *sys.argv[1:]])

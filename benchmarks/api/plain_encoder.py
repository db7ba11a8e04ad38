"""`anymodal serve` without its optimisations: the same model in float32 in torch, no batching, no
cache.

Run by ``python -m benchmarks.api.plain_encoder``. Its vectors are close to the store's, and
only its time is measured.
"""

from __future__ import annotations

import sys

from benchmarks.harness.torch_towers import torch_model
from encoder import MultiModalEncoder
from encoder.config import EncoderConfig
from encoder.models.bundle.declaration import DEFAULT
from encoder.towers.dispatch import Dispatch
from search.api.config import ApiConfig
from workers.cli import anymodal
from workers.serving.resources import Resources

NO_HELP = {"batch_items": 1, "embedding_cache_bytes": 0}
"""Constants of the API under which each query is encoded by itself."""


def torch_encoder(_: Resources) -> MultiModalEncoder:
    """The encoder of the served store, by its name, with the default model's towers in torch."""
    encoder = MultiModalEncoder(quantization="auto", enable_dsre="auto")
    space = encoder.space
    encoder.home.dispatch = Dispatch(torch_model(DEFAULT), EncoderConfig())
    encoder.home.dispatch.space = space
    return encoder


if __name__ == "__main__":
    for name, value in NO_HELP.items():
        ApiConfig.model_fields[name].default = value
    ApiConfig.model_rebuild(force=True)
    Resources._load_encoder = torch_encoder  # type: ignore[method-assign]
    anymodal.main(["serve", *sys.argv[1:]])

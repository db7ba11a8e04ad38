"""`anymodal worker` with a model that costs milliseconds: ``python -m tests.faults.tiny_worker``.

Everything else is the real thing. The vectors depend on the content alone, as a model's do.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from functools import cache
from hashlib import blake2b

import numpy as np

from encoder.space import Space, l2_normalize
from encoder.types import Embeddings, Item, Waveform
from workers import resources
from workers.cli import anymodal

DIM = 32
SPACE = Space(DIM, {"model": "tiny"})
SECONDS_PER_ITEM = 0.01  # so that there is a middle of the work to be killed in


def _content(item: Item) -> bytes:
    if isinstance(item.content, str):
        return item.content.encode()
    if isinstance(item.content, Waveform):
        return item.content.samples.tobytes()
    return np.ascontiguousarray(item.content).tobytes()


class TinyEncoder:
    space = SPACE

    def encode_items(self, items: Sequence[Item]) -> Embeddings:
        time.sleep(SECONDS_PER_ITEM * len(items))
        seeds = [int.from_bytes(blake2b(_content(item), digest_size=8).digest()) for item in items]
        return l2_normalize(np.stack([np.random.default_rng(s).normal(size=DIM) for s in seeds]))


if __name__ == "__main__":
    resources._encoder = cache(TinyEncoder)
    anymodal.main(["worker", *sys.argv[1:]])

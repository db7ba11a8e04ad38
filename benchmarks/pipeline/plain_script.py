"""Scripts without a pipeline: what a job is compared with.

The decoders are the pipeline's own. ``python -m benchmarks.pipeline.plain_script WAY FOLDER STORE``
prints its seconds and counts as JSON.

- ``one-by-one`` encodes one item after the other in torch in float32, and inserts each.
- ``batched`` encodes 32 items at once with our own int8 networks, and inserts them at once.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from time import perf_counter, process_time

from benchmarks.harness.torch_towers import torch_model
from encoder import MultiModalEncoder
from encoder.towers.base import loaded
from encoder.types import Embeddings, Item
from ingest import IngestConfig, identify, segments

Encode = Callable[[Sequence[Item]], Embeddings]
_MODEL = "english"
_AT_ONCE = 32


def _one_by_one() -> Encode:
    towers = torch_model(_MODEL).towers

    def encode(items: Sequence[Item]) -> Embeddings:
        (item,) = items
        tower = towers[item.modality]
        return tower.forward([tower.prepare(item.content)]).rows

    return encode


def _batched() -> Encode:
    encoder = MultiModalEncoder(f"bundle:{_MODEL}", quantization="int8", enable_dsre=False)
    for tower in encoder.home.towers.towers.values():
        loaded(tower)
    return encoder.encode_items


WAYS: Mapping[str, tuple[int, Callable[[], Encode]]] = {
    "one-by-one": (1, _one_by_one),
    "batched": (_AT_ONCE, _batched),
}
"""How many items are encoded and inserted at once, and what makes their encoder."""


def ingest(way: str, folder: Path, store: str) -> dict[str, object]:
    """Encode and insert the segments of each file, in order."""
    at_once, open_encoder = WAYS[way]
    encode, database = open_encoder(), sqlite3.connect(store)
    database.execute("CREATE TABLE rows (path TEXT, embedding BLOB)")
    counts: Counter[str] = Counter()
    loading_cpu_s, started = process_time(), perf_counter()
    remaining = _items(sorted(folder.iterdir()))
    while some := list(islice(remaining, at_once)):
        paths, items = zip(*some, strict=True)
        rows = zip(paths, (row.tobytes() for row in encode(items)), strict=True)
        with database:
            database.executemany("INSERT INTO rows VALUES (?, ?)", rows)
        counts.update(str(item.modality) for item in items)
    wall_s = perf_counter() - started
    return {"wall_s": wall_s, "loading_cpu_s": loading_cpu_s, "segments": dict(counts)}


def _items(paths: Iterable[Path]) -> Iterator[tuple[str, Item]]:
    config = IngestConfig()
    for path in paths:
        for segment in segments(identify(path, config), config):
            yield str(path), Item(segment.modality, segment.content)


if __name__ == "__main__":
    print(json.dumps(ingest(sys.argv[1], Path(sys.argv[2]), sys.argv[3])))

"""Ingest a folder in this process and report its memory: ``long_run FOLDER STORE``.

The real encoder, decoders and job; the store is a server, so that its rows are not in this process.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from pathlib import Path

from encoder import MultiModalEncoder
from encoder.system.allocator import share_pools
from encoder.system.batched import in_batches
from ingest import IngestConfig
from search.store.open import open_store
from workers.pipeline.ingest_job import IngestJob
from workers.pipeline.reports import IngestReport

_SHARD_FILES = 15
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def resident_mb() -> float:
    """Memory of this process that is neither swapped out nor a file's.

    Free memory is given back first: how much of it the allocator keeps is random (20 MB), and
    would hide a leak, or look like one.
    """
    ctypes.CDLL(None).malloc_trim(0)
    _, resident, shared = map(int, Path("/proc/self/statm").read_text().split()[:3])
    return (resident - shared) * _PAGE_BYTES / 1e6


def main(folder: str, store_uri: str) -> None:
    share_pools()  # as `workers.serving.resources` does
    encoder = MultiModalEncoder(quantization="int8")
    store = open_store(store_uri, encoder.space.fingerprint, encoder.embed_dim)
    job = IngestJob(encoder, store, IngestConfig(isolate=True))
    total, memory_mb = IngestReport(), []
    for paths in in_batches(sorted(map(str, Path(folder).iterdir())), _SHARD_FILES):
        total.add(job.run(paths))
        memory_mb.append(round(resident_mb(), 1))
    store.close()
    sys.stdout.write(json.dumps({"report": total.as_json(), "memory_mb": memory_mb}))


if __name__ == "__main__":
    main(*sys.argv[1:])

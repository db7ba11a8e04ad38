"""Our pipeline as a library, as in docs/pipeline.md: child processes decode, a folder stores.

python -m benchmarks.products.ours MODEL FOLDER STORE QUESTIONS [PRECISION]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.products.peers import wait
from encoder import MultiModalEncoder
from encoder.types import TEXT, Item
from search import Query, SearchEngine, open_store
from workers.config import Settings
from workers.pipeline import IngestPipeline


def main(_: str, folder: str, store: str, questions: str, precision: str = "int8") -> None:
    """Ingest, then answer; the bundle has the same MiniLM, so its folder is not needed."""
    config = Settings().encoder
    encoder = MultiModalEncoder("bundle:english", quantization=precision or None, config=config)
    space = encoder.space
    rows = open_store(store, space.fingerprint, space.embed_dim, calibration=space.calibration)
    wait("opened")
    report = IngestPipeline(encoder, rows).run([folder])
    wait("stored")
    engine = SearchEngine(encoder, rows)
    found = {
        kind: [_files(engine, question) for question, _ in asked]
        for kind, asked in json.loads(Path(questions).read_text()).items()
    }
    unread = [Path(failure.uri).name for failure in report.failures]
    print(json.dumps({"unread": unread, "found": found}))


def _files(engine: SearchEngine, question: str) -> list[str]:
    hits = engine.search(Query([Item(TEXT, question)], limit=10)).hits
    return [Path(hit.uri).name for hit in hits]


if __name__ == "__main__":
    main(*sys.argv[1:])

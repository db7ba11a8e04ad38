"""A store with mixed segments, filled once and kept with the other benchmark data."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from benchmarks.corpora.segments import fill
from benchmarks.harness.reporting import Settings, note
from encoder import MultiModalEncoder
from search import open_store
from search.store.schema import SCHEMA_VERSION
from workers.config import current_settings
from workers.serving.resources import Resources

_MARK = "filled.json"


def filled(settings: Settings, n_segments: int) -> Path:
    """The folder of a store with about ``n_segments`` segments."""
    encoder = default_encoder()
    folder = settings.cache / f"store-{n_segments}"
    made = f"{encoder.space.fingerprint} schema {SCHEMA_VERSION}"
    mark = folder / _MARK
    if not mark.exists() or json.loads(mark.read_text())["made"] != made:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        fill_store(str(folder / "store"), encoder, n_segments)
        mark.write_text(json.dumps({"made": made}))
    return folder / "store"


def fill_store(address: str, encoder: MultiModalEncoder, n_segments: int) -> None:
    """Write the segments into a new store, in a folder or on a server."""
    note(f"filling {address}")
    space = encoder.space
    store = open_store(address, space.fingerprint, space.embed_dim, calibration=space.calibration)
    try:
        note(f"{fill(store, encoder, n_segments)} segments")
    finally:
        store.close()


def default_encoder() -> MultiModalEncoder:
    """That of a server by its settings."""
    return Resources(current_settings()).encoder()

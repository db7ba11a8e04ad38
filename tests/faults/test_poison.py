"""A folder of poison through the whole job, with the real encoder and decoder processes."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from encoder import MultiModalEncoder
from ingest import IngestConfig, discover, isolate
from ingest.isolate import pool
from search.store.memory import MemoryStore
from tests.support.poison import FINE, make_poison, neighbours
from workers.pipeline.ingest_job import IngestJob

MEMORY = 1_000_000_000
CONFIG = IngestConfig(
    isolate=True,
    max_memory_bytes=MEMORY,
    max_text_bytes=3_000_000,
    max_text_chars=1_000_000,
    max_pdf_pages=100,
    max_image_frames=50,
    max_duration_s=120,
)


@pytest.fixture(autouse=True)
def no_processes_left() -> Iterator[None]:
    isolate.close()
    yield
    isolate.close()


def peak_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def test_every_file_is_ingested_or_set_aside_with_its_reason(
    bundle_home: Path, tmp_path: Path
) -> None:
    assert bundle_home.is_dir()
    fates = make_poison(tmp_path)
    assert len(fates) >= 60
    good = neighbours(tmp_path)
    encoder = MultiModalEncoder(quantization="int8")
    store = MemoryStore(encoder.embed_dim)
    job = IngestJob(encoder, store, CONFIG)
    encoder.encode_multimodal(text="warm")
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    report = job.run([str(path) for path in discover([tmp_path])])

    # Names that are not UTF-8 are reported with their bytes escaped.
    told = {
        os.fsencode(name).decode(errors="backslashreplace"): fate for name, fate in fates.items()
    }
    failed = {os.path.relpath(f.uri, tmp_path): f for f in report.failures}
    stored = {os.path.relpath(uri, tmp_path) for row in store.scan() for uri in row.locations}
    assert failed.keys() | stored == told.keys() | set(good)
    assert not failed.keys() & stored
    assert set(good) <= stored
    ended = {name: failed[name].error if name in failed else FINE for name in told}
    wrong = {
        name: (ended[name], failed[name].reason if name in failed else "")
        for name, fate in told.items()
        if fate not in (ended[name], "any")
    }
    assert wrong == {}
    for name, failure in failed.items():
        assert Path(failure.uri).name == Path(name).name
        assert len(failure.reason) > 20
    assert all(peak_kb(p._process.pid) * 1024 < MEMORY for p in pool._pool._idle)
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb
    assert grown_kb * 1024 < MEMORY

"""Full or read-only disks: reported at once, nothing lost, and more room finishes the rest."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoder.errors import DiskError
from encoder.system import disk as rules
from encoder.types import IMAGE, TEXT
from ingest.config import IngestConfig
from search.store.open import open_store
from search.types import SegmentRow
from tests.contract.rows import DIM, SPACE, asset, segment, vectors
from tests.faults.cluster import BIN, ROOT
from tests.faults.disk import Disk, small_disk
from workers.serving.query_media import QueryDecoder

pytestmark = pytest.mark.root
N_FILES = 100
N_ROWS = 100
"""Of an asset: with texts of 2 KB, a dozen of them fill a disk of a few MB."""
RESERVE_MB = rules.RESERVE_BYTES / 2**20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with small_disk(tmp_path / "disk", RESERVE_MB + 0.5) as disk:
        yield disk


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory, bundle_home: Path) -> Path:
    assert bundle_home.is_dir()
    folder = tmp_path_factory.mktemp("media")
    for number in range(N_FILES):
        parts = (f"Note {number}, part {part}: the harbour at dusk. " * 10 for part in range(3))
        (folder / f"{number}.txt").write_text("\n\n".join(parts))
    return folder


def ingest(media: Path, store: Path) -> tuple[int, dict[str, Any], str]:
    """Exit code, report and what was said."""
    done = subprocess.run(
        [BIN / "anymodal", "ingest", media, "--store", store, "--json"],
        cwd=ROOT,
        env={**os.environ, "ANYMODAL_SHARD_FILES": "12"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


def large_rows(name: str, seed: int) -> list[SegmentRow]:
    random = np.random.default_rng(seed)
    return [
        segment(name, i, row, snippet=random.bytes(1000).hex())
        for i, row in enumerate(vectors(N_ROWS, seed=seed))
    ]


def test_a_full_disk_ends_an_ingest_and_more_room_finishes_it(disk: Disk, media: Path) -> None:
    store = disk.folder / "store"
    code, report, said = ingest(media, store)
    assert (code, said.count("\n")) == (1, 1), said
    assert f"{store} cannot be written" in said
    assert "Free some space there" in said
    stored = report["ingested"]
    assert 0 < stored < N_FILES
    assert report["interrupted"]
    disk.resize(2 * RESERVE_MB)
    code, report, said = ingest(media, store)
    assert (code, report["ingested"], report["unchanged"]) == (0, N_FILES - stored, stored), said


@pytest.mark.parametrize("is_new", [True, False])
def test_a_read_only_disk_ends_an_ingest(disk: Disk, tmp_path: Path, is_new: bool) -> None:
    media, store = tmp_path / "media", disk.folder / "store"
    media.mkdir()
    (media / "a.txt").write_text("A note.")
    if not is_new:
        ingest(media, store)
    disk.read_only()
    code, _, said = ingest(media, store)
    assert (code, said.count("\n")) == (1, 1), said
    reason = "cannot be written" if is_new else "can be searched, but not written to"
    assert f"{store} {reason}" in said


def test_what_was_acknowledged_survives_a_disk_that_runs_full_in_a_write(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "RESERVE_BYTES", -(2**30))  # others fill the disk meanwhile
    disk.resize(3)
    folder = disk.folder / "store"
    store = open_store(str(folder), SPACE, DIM)
    kept: list[str] = []

    def write(name: str) -> None:
        store.write([asset(name, f"/{name}", n_segments=N_ROWS)], large_rows(name, len(kept)))
        kept.append(name)

    def write_on() -> None:
        for number in range(1000):
            write(f"asset{number}")

    with pytest.raises(DiskError, match="No space left on device"):
        write_on()
    assert kept
    assert len(store.assets(kept)) == len(kept)  # it can still be read
    disk.resize(64)
    write("late")  # the next write needs no restart
    store.close()

    store = open_store(str(folder), SPACE, DIM)
    assert set(kept) <= set(store.assets(kept))
    for name in kept:
        assert len(store.embeddings(name)) == N_ROWS
        (hit,) = store.search(vectors(1), [IMAGE], 1, asset_ids=[name])[0]
        assert hit.asset_id == name
    assert store.check(lambda *_: None).wrong == {}  # type: ignore[attr-defined]
    store.close()


def test_a_query_finds_no_room_for_its_file(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    disk.fill()
    monkeypatch.setattr(tempfile, "tempdir", str(disk.folder))
    with pytest.raises(DiskError, match="No space left on device"):
        QueryDecoder(IngestConfig(), IngestConfig()).decode(TEXT, b"x" * 10_000, "query.text")
    assert [path.name for path in disk.folder.iterdir()] == [".filler"]


def test_what_else_the_disk_refuses_is_said_in_a_line(disk: Disk) -> None:
    disk.read_only()
    done = subprocess.run(
        [BIN / "anymodal", "keys", "create", "me"],
        env={**os.environ, "ANYMODAL_API__KEYS_FILE": str(disk.folder / "new" / "keys.json")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "Read-only file system" in done.stderr


def test_a_full_cache_costs_time_and_says_so_in_a_line(disk: Disk, tmp_path: Path) -> None:
    disk.fill()
    store = tmp_path / "store"
    done = subprocess.run(
        [BIN / "anymodal", "ingest", ROOT / "README.md", "--store", store],
        cwd=ROOT,
        env={**os.environ, "ANYMODAL_CACHE": str(disk.folder / "cache")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr

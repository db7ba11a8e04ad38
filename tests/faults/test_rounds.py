"""One small round of each kind; `make fault-rounds` plays them longer, and on a Milvus server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.cluster import ROOT, Cluster
from tests.faults.counting import faults_of_store
from tests.faults.disk import Disk
from tests.faults.files import make_media
from tests.faults.kills import OPERATIONS
from tests.faults.rounds import FULL_DISK, KINDS, play, stage

N_FILES = 18
LEASE_S = 2.0
HOLD_S = 3.0  # longer than the lease


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with stage(tmp_path_factory.mktemp("cluster"), "", "lite", LEASE_S) as (cluster, _):
        yield cluster


@pytest.fixture
def small(tmp_path: Path) -> Iterator[tuple[Cluster, Disk]]:
    with stage(tmp_path, FULL_DISK, "", LEASE_S) as (cluster, disk):
        assert disk
        yield cluster, disk


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != FULL_DISK])
def test_nothing_is_lost_or_there_twice(cluster: Cluster, tmp_path: Path, kind: str) -> None:
    seed = KINDS.index(kind)
    played = play(cluster, tmp_path / "media", kind, N_FILES, seed, hold_s=HOLD_S)
    assert played.wrong == []


def test_a_job_waits_for_room_on_the_disk(small: tuple[Cluster, Disk], tmp_path: Path) -> None:
    cluster, disk = small
    n_files = 4 * N_FILES  # in more shards than run at once, so that some begin on the full disk
    played = play(cluster, tmp_path / "media", FULL_DISK, n_files, seed=1, disk=disk)
    assert played.wrong == []


@pytest.mark.slow
@pytest.mark.parametrize("store", ["folder", pytest.param("--server", marks=pytest.mark.milvus)])
@pytest.mark.parametrize(
    "words", [["kills", "--trials", str(len(OPERATIONS))], ["lane_kills", "--kills", "3"]]
)
def test_a_kill_leaves_nothing_lost_doubled_or_orphaned(words: list[str], store: str) -> None:
    """In a process of its own, since it forks: ``python -m tests.faults.kills`` makes more."""
    words = [sys.executable, "-m", f"tests.faults.{words[0]}", *words[1:]]
    words += [store] if store == "--server" else []
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=580, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_lost_or_stray_is_reported(cluster: Cluster, tmp_path: Path) -> None:
    """A check that cannot fail would be worth nothing."""
    media = tmp_path / "media"
    make_media(media, 8, seed=99)
    ingest = cluster.ingest(media, "--json")
    ingest.communicate(timeout=60)
    assert ingest.returncode == 0
    assert all("succeeded" in worker.log() for worker in cluster.workers)  # they shared the jobs
    assert faults_of_store(cluster, media) == []
    (media / "late.txt").write_text("This was never ingested.")
    assert faults_of_store(cluster, media) == ["content of ['late.txt'] is at []"]
    (media / "0000.txt").rename(media / "renamed.txt")
    assert "content of ['renamed.txt'] is at ['0000.txt']" in faults_of_store(cluster, media)

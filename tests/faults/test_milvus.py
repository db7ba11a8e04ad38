"""Jobs over Redis and the genuine Milvus server while it is killed: nothing lost, nothing twice."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from search.store.open import open_store
from tests.contract.rows import DIM, SPACE, asset
from tests.faults.cluster import ROOT, Cluster
from tests.faults.rounds import play, running

pytestmark = pytest.mark.milvus

READER = f"""
import sys
from search.store.open import open_store
store = open_store(sys.argv[1], {SPACE!r}, {DIM}, prefix="restart")
print(len(store.assets([f"a{{number}}" for number in range(100)])))
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(tmp_path_factory.mktemp("cluster") / "parts", milvus="server") as cluster:
        yield cluster


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_kill_9_of_the_server_loses_nothing(cluster: Cluster, tmp_path: Path, seed: int) -> None:
    played = play(cluster, tmp_path / "media", "milvus", n_files=60, seed=seed)
    assert played.is_clean, played


def test_after_a_kill_9_new_readers_see_all_rows_at_once(cluster: Cluster) -> None:
    """A server answers before it has read its log again; such an answer must not be taken."""
    store = open_store(cluster.milvus.uri, SPACE, DIM, prefix="restart")
    store.write([asset(f"a{number}", f"/{number}") for number in range(100)], [])
    store.close()
    cluster.milvus.kill()
    cluster.milvus.start()
    cluster.milvus.wait_until_ready()
    command = [sys.executable, "-c", READER, cluster.milvus.uri]
    assert int(subprocess.check_output(command, cwd=ROOT, timeout=120)) == 100

"""Jobs over Redis and the genuine Milvus server while it is killed: nothing lost, nothing twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.cluster import Cluster
from tests.faults.rounds import play, running

pytestmark = pytest.mark.milvus


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(tmp_path_factory.mktemp("cluster") / "parts", milvus="server") as cluster:
        yield cluster


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_kill_9_of_the_server_loses_nothing(cluster: Cluster, tmp_path: Path, seed: int) -> None:
    played = play(cluster, tmp_path / "media", "milvus", n_files=60, seed=seed)
    assert played.ingested + played.failed == 60

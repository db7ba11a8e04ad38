"""Jobs over Redis and the genuine Milvus server while it is killed: nothing lost, nothing twice."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from encoder.space import Calibration
from encoder.types import TEXT
from search.store.milvus.notes import drop_calibration
from search.store.milvus.store import MilvusStore
from search.store.open import open_store
from search.store.space_record import SearchedSpace
from search.store.stored_spaces import space_record
from tests.contract.rows import DIM, SPACE, asset, segment, vectors
from tests.faults.cluster import ROOT, Cluster
from tests.faults.rounds import play, running

pytestmark = pytest.mark.milvus

READER = f"""
import sys
from search.store.open import open_store
store = open_store(sys.argv[1], {SPACE!r}, {DIM}, prefix="restart")
print(len(store.assets([f"a{{number}}" for number in range(100)])))
"""


CUT_OFF = f"""
import os, signal, sys
from search.store.milvus.writing import MilvusWriter
from search.store.open import open_store
from tests.contract.rows import asset, segment, vectors
MilvusWriter.commit = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
store = open_store(sys.argv[1], {SPACE!r}, {DIM}, prefix="cut")
rows = [segment(name, 0, row) for name, row in zip("ab", vectors(2))]
store.write([asset(name, name) for name in "ab"], rows)
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(tmp_path_factory.mktemp("cluster") / "parts", milvus="server") as cluster:
        yield cluster


def test_a_kill_9_of_the_server_loses_nothing(cluster: Cluster, tmp_path: Path) -> None:
    played = play(cluster, tmp_path / "media", "milvus", n_files=40, seed=1)
    assert played.wrong == []


def test_after_a_kill_9_all_is_known_at_once(cluster: Cluster) -> None:
    """A server answers before it has read its log again; such an answer must not be taken.

    It also knows what was measured, and which model was before.
    """
    uri, constants = cluster.milvus.uri, {TEXT: Calibration(0.1, 0.2)}
    former = SearchedSpace("0" * 16, {"model": "bundle:english"})
    moved = SearchedSpace(SPACE, {"model": "bundle:multilingual"}, former)
    with closing(open_store(uri, SPACE, DIM, prefix="facts")) as store:
        store.recalibrate({}, {"source": "none"})
        store.recalibrate(constants, {"source": "measured"})
        with space_record(uri, "facts") as record:
            record.write(former)
            record.write(moved)
    store = open_store(uri, SPACE, DIM, prefix="restart")
    store.write([asset(f"a{number}", f"/{number}") for number in range(100)], [])
    store.close()
    cluster.milvus.kill()
    cluster.milvus.start()
    cluster.milvus.wait_until_ready()
    command = [sys.executable, "-c", READER, uri]
    assert int(subprocess.check_output(command, cwd=ROOT, timeout=120)) == 100
    with closing(open_store(uri, SPACE, DIM, prefix="facts")) as store:
        assert store.calibrations.current().constants == constants
        assert isinstance(store, MilvusStore)
        names = [n for n in store._link.call("list_collections") if n.startswith("facts")]
        assert len(names) == 5  # of the store and its space, the calibration and the record
        drop_calibration(store._link, store._rows.name(store._segments[SPACE]))
        assert len([n for n in store._link.call("list_collections") if n in names]) == 4
    with space_record(uri, "facts") as record:
        assert record.read() == moved


def test_who_opens_the_store_removes_what_a_write_that_was_cut_off_has_left(
    cluster: Cluster,
) -> None:
    def opened() -> MilvusStore:
        store = open_store(cluster.milvus.uri, SPACE, DIM, prefix="cut")
        assert isinstance(store, MilvusStore)
        return store

    with closing(opened()) as store:
        store.write([asset("a", "a")], [segment("a", 0, vectors(1)[0])])
    command = [sys.executable, "-c", CUT_OFF, cluster.milvus.uri]
    assert subprocess.run(command, cwd=ROOT, timeout=120, check=False).returncode == -9
    with closing(opened()) as store:
        assert (len(store.embeddings("a")), len(store.embeddings("b"))) == (1, 0)
        assert store.check(lambda *_: None).wrong == {}

"""Indexes measured on a store's own vectors: `search.store.tuning`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from encoder.types import IMAGE, TEXT, Modality
from search.errors import StoreError
from search.store.embedded.vectors.codes import CHUNK
from search.store.memory import MemoryStore
from search.store.milvus.indexes import scratch
from search.store.milvus.link import MilvusLink
from search.store.tuning.found import Exact, Trial, chosen
from search.store.tuning.sample import drawn
from search.store.tuning.tune import INDEXES, LEAST_ROWS, tune
from tests.contract.rows import CALIBRATION, DIM, segment, vectors
from tests.support.milvus_server import MilvusServer


def filled(n: int, *kinds: Modality) -> MemoryStore:
    """A store in memory, as an example of any store: it is only sampled."""
    store = MemoryStore(DIM, CALIBRATION)
    rows = enumerate(vectors(n))
    store.write([], [segment(f"a{n}", 0, row, kinds[n % len(kinds)]) for n, row in rows])
    return store


@pytest.fixture(scope="module")
def store() -> MemoryStore:
    return filled(2600, TEXT, IMAGE, IMAGE, IMAGE)


@pytest.fixture
def link(milvus_server: MilvusServer) -> Iterator[MilvusLink]:
    link = MilvusLink(milvus_server.uri, timeout_s=60, connect_timeout_s=10)
    yield link
    link.close()


def left(link: MilvusLink) -> list[str]:
    return [name for name in link.call("list_collections") if "tuning" in name]


@pytest.mark.milvus
def test_a_server_s_indexes_are_measured_and_nothing_is_left(
    store: MemoryStore, link: MilvusLink, milvus_server: MilvusServer
) -> None:
    killed = "anymodal_tuning_5f000000_0123abcd"
    link.call("create_collection", killed, dimension=4)
    seen: list[str] = []
    indexes = [index for index in INDEXES if index != "DISKANN"]
    tuned = tune(store, milvus_server.uri, vectors(20), indexes=indexes, progress=seen.append)
    assert seen == ["reading", *indexes]
    assert [trial.index for trial in tuned.trials] == ["HNSW"]
    assert all(trial.recall >= 0.99 and trial.p50_ms > 0 for trial in tuned.trials)
    assert list(tuned.refused) == ["HNSW_SQ", "IVF_RABITQ", "SCANN", "HNSW+mmap"]
    assert all("(Milvus v2.3.5" in why for why in tuned.refused.values())
    assert tuned.unsealed is not None
    assert tuned.settings["ANYMODAL_STORE__INDEX"] == "HNSW"
    assert tuned.settings["ANYMODAL_STORE__CANDIDATES"] == "200"
    assert left(link) == []


@pytest.mark.milvus
def test_an_index_that_is_taken_and_never_built_is_refused(
    store: MemoryStore,
    link: MilvusLink,
    milvus_server: MilvusServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Such as the DISKANN of Milvus 2.3.5: only the server's log says that its build fails."""
    monkeypatch.setattr(scratch, "STALLED_S", 0.0)
    tuned = tune(store, milvus_server.uri, vectors(20), indexes=["DISKANN"])
    assert "rows were not indexed" in tuned.refused["DISKANN"]
    assert tuned.settings == {}
    assert left(link) == []


@pytest.mark.milvus
def test_nothing_is_left_by_one_that_is_broken_off(
    store: MemoryStore,
    link: MilvusLink,
    milvus_server: MilvusServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[list[str]] = []

    def stop(_exact: Exact, _search: object) -> float:
        seen.append(left(link))
        raise KeyboardInterrupt

    monkeypatch.setattr(Exact, "recall", stop)
    with pytest.raises(KeyboardInterrupt):
        tune(store, milvus_server.uri, vectors(20))
    assert len(seen[0]) == 1
    assert left(link) == []


def test_a_folder_s_scan_is_measured(tmp_path: Path) -> None:
    n = CHUNK + 200
    tuned = tune(filled(n, IMAGE), str(tmp_path / "store"), vectors(20), n=n)
    (trial,) = tuned.trials
    assert (trial.index, trial.candidates) == ("scan", 94)
    assert trial.recall >= 0.99
    assert tuned.settings == {}
    assert f"{CHUNK:,} of these" in tuned.notes[0]


@pytest.mark.parametrize(("uri", "why"), [("memory:", "without an index"), (None, "too few")])
def test_what_has_no_index_is_refused_with_a_remedy(uri: str | None, why: str) -> None:
    with pytest.raises(StoreError, match=why) as refused:
        tune(filled(LEAST_ROWS // 2, TEXT), uri, vectors(1))
    assert refused.value.remedy


def test_a_sample_has_each_kind_s_share_and_no_query(store: MemoryStore) -> None:
    sample = drawn(store, vectors(3), 1300)
    n_texts = sum(part == TEXT for part in sample.parts)
    assert n_texts / len(sample.parts) == pytest.approx(0.25, abs=0.01)
    alike = sample.queries[1]
    assert len(sample.rows) + len(alike) == 1300
    directions = sample.rows[:, :-1] / np.linalg.norm(sample.rows[:, :-1], axis=1, keepdims=True)
    assert (directions @ alike[:, :-1].T).max() < 1 - 1e-4


def test_recall_is_that_of_the_worse_kind_and_equals_count() -> None:
    rows = np.eye(20, dtype=np.float32)
    exact = Exact(
        rows, [np.ones((1, 20), np.float32), rows[:1] + np.linspace(0, 0.5, 20, dtype="f")]
    )
    assert exact.recall(lambda _: range(10)) == pytest.approx(0.1)
    assert exact.recall(lambda query: np.argsort(-query)[:10].tolist()) == 1.0


def test_the_first_of_about_the_same_speed_that_has_room_is_chosen() -> None:
    slow = Trial("HNSW", 64, 0.99, 6.0, 9.0, 1680.0)
    fast = Trial("DISKANN", 64, 0.995, 5.0, 9.0, 192.0)
    bad = Trial("IVF_RABITQ", 1600, 0.98, 1.0, 2.0, 433.0)
    assert chosen([slow, fast, bad], 1000, None) == slow
    assert chosen([slow, fast, bad], 1000, 1e6) == fast
    assert chosen([slow, fast, bad], 1000, 1e5) is None

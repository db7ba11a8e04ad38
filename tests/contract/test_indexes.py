"""Indexes that a server can have, set by ``ANYMODAL_STORE__INDEX``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest
from pydantic import ValidationError

from encoder.errors import InputError
from encoder.types import IMAGE
from search.errors import StoreError
from search.store.memory import MemoryStore
from search.store.milvus.indexes import KINDS, IndexState, build_params, search_params
from search.store.milvus.store import MilvusStore
from tests.contract.conftest import Opener
from tests.contract.rows import CALIBRATION, DIM, assert_same_answers, corpus, vectors
from tests.support.milvus_server import MilvusServer
from workers.config import Settings


@pytest.fixture
def opener(milvus_server: MilvusServer) -> Iterator[Opener]:
    opener = Opener(milvus_server.uri)
    yield opener
    opener.drop()


@pytest.mark.milvus
def test_a_store_keeps_the_index_it_was_made_with(opener: Opener) -> None:
    """Milvus 2.3.5 accepts DISKANN, and never builds it."""
    oracle = MemoryStore(DIM, CALIBRATION)
    assets, segments = corpus(12)
    for store in (opener(index="DISKANN"), oracle):
        store.write(assets, segments)
    again = cast(MilvusStore, opener(index="HNSW"))
    assert again._search._index_kind == "DISKANN"
    assert again.index_state() == IndexState("DISKANN", 0, 0)
    assert_same_answers(again, oracle)


@pytest.mark.milvus
def test_what_an_old_server_lacks_is_refused_by_name(opener: Opener) -> None:
    for index in ("HNSW_SQ", "IVF_RABITQ", "SCANN", "HNSW+mmap"):
        with pytest.raises(StoreError) as refused:
            opener(index=index)
        assert f"cannot build the index {index}" in refused.value.problem
        assert "ANYMODAL_STORE__INDEX" in refused.value.remedy
    assert opener(index="HNSW").search(vectors(1), IMAGE, 1) == [[]]


@pytest.mark.parametrize("index", ["FLAT", "HNSW+", "HNSW+disk", "hnsw", "DISKANN+mmap"])
def test_indexes_that_are_none_are_refused(index: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="one of HNSW, HNSW_SQ, IVF_RABITQ, DISKANN, SCANN"):
        build_params(index)
    monkeypatch.setenv("ANYMODAL_STORE__INDEX", index)
    with pytest.raises(ValidationError, match="store__index"):
        Settings()


@pytest.mark.parametrize("limit", [1, 20, 16_384])
@pytest.mark.parametrize("kind", KINDS)
def test_a_search_looks_as_far_as_a_kind_takes_and_no_farther(kind: str, limit: int) -> None:
    """Milvus refuses fewer candidates than hits, and more lists than were built."""
    params = search_params(kind, limit)
    depths = [params[name] for name in ("ef", "search_list", "reorder_k") if name in params]
    assert all(depth >= limit for depth in depths)
    n_lists = build_params(kind)["params"].get("nlist", 0)
    assert params.get("nprobe", 0) <= n_lists
    assert depths or params["nprobe"]

"""Indexes that a server may have, by ``ANYMODAL_STORE__INDEX``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest
from pydantic import ValidationError

from encoder.errors import InputError
from encoder.types import IMAGE
from search.errors import StoreError
from search.store.memory import MemoryStore
from search.store.milvus.indexes.kinds import build_params
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
def test_a_store_is_made_with_an_index_and_keeps_it(opener: Opener) -> None:
    oracle = MemoryStore(DIM, CALIBRATION)
    assets, segments = corpus(12)
    for store in (opener(index="DISKANN"), oracle):
        store.write(assets, segments)
    again = cast(MilvusStore, opener(index="HNSW", candidates=10))
    assert again._search._candidates == 10
    assert again._search._index_kind == "DISKANN"
    assert_same_answers(again, oracle)


@pytest.mark.milvus
@pytest.mark.parametrize("index", ["HNSW_SQ", "IVF_RABITQ", "HNSW+mmap"])
def test_what_an_old_server_lacks_is_refused_by_name(opener: Opener, index: str) -> None:
    with pytest.raises(StoreError) as refused:
        opener(index=index)
    assert f"makes no index {index}" in refused.value.problem
    assert "ANYMODAL_STORE__INDEX" in refused.value.remedy
    assert opener(index="HNSW").search(vectors(1), IMAGE, 1) == [[]]


@pytest.mark.parametrize("index", ["SCANN", "HNSW+", "HNSW+disk", "hnsw"])
def test_indexes_that_are_none_are_refused(index: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="one of HNSW, HNSW_SQ, IVF_RABITQ, DISKANN"):
        build_params(index)
    monkeypatch.setenv("ANYMODAL_STORE__INDEX", index)
    with pytest.raises(ValidationError, match="store__index"):
        Settings()


def test_the_setting_reaches_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYMODAL_STORE__INDEX", "HNSW_SQ+mmap")
    index = Settings().store__index
    assert build_params(index)["params"]["mmap.enabled"] is True

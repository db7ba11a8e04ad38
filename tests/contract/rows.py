"""Rows for the contract of the stores."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from encoder.space import Calibration
from encoder.types import AUDIO, IMAGE, TEXT, VIDEO, Embeddings, Modality
from search.store.base import VectorStore
from search.store.checking import Checkable
from search.store.folder.store import FolderStore
from search.store.milvus.store import MilvusStore
from search.store.open import open_store
from search.store.schema import segment_id
from search.store.several import shifted
from search.store.stored_spaces import open_recorded
from search.types import AssetRow, ScoredSegment, SegmentRow

DIM = 16
SPACE = "0123456789abcdef"
CALIBRATION = {TEXT: Calibration(0.06, 0.155), IMAGE: Calibration(-0.2, 2.0)}


def record_of(store: VectorStore) -> MilvusStore:
    """What Milvus itself keeps of a store."""
    assert isinstance(store, MilvusStore)
    return store


def opened(folder: Path) -> FolderStore:
    """The store in a folder."""
    store = open_store(str(folder), SPACE, DIM, calibration=CALIBRATION)
    assert isinstance(store, FolderStore)
    return store


def stored_spaces(uri: str) -> set[str]:
    """The spaces of all that is stored."""
    with closing(open_recorded(uri)) as store:
        assert isinstance(store, Checkable)
        return {space for space, _ in store.stored_lanes()}


def knows_words(store: VectorStore) -> bool:
    """Whether it searches by words; the tests' Milvus server is too old."""
    return not isinstance(store, MilvusStore) or store._words is not None


def vectors(n: int, seed: int = 0) -> Embeddings:
    return np.random.default_rng(seed).normal(size=(n, DIM)).astype(np.float32)


def asset(name: str, *locations: str, modality: Modality = IMAGE, n_segments: int = 1) -> AssetRow:
    return AssetRow(
        name,
        modality,
        "image/png",
        7,
        {modality: n_segments} if n_segments else {},
        list(locations),
        {"title": name},
    )


def segment(
    asset_id: str, index: int, embedding: Embeddings, modality: Modality = IMAGE, **facts: Any
) -> SegmentRow:
    key = segment_id(asset_id, modality, index, SPACE)
    return SegmentRow(key, asset_id, modality, index, embedding, **facts)


def corpus(n_assets: int, seed: int = 0) -> tuple[list[AssetRow], list[SegmentRow]]:
    """Assets of mixed kinds, three segments each, with all sorts of missing numbers."""
    assets, segments = [], []
    embeddings = iter(vectors(3 * n_assets, seed))
    for number in range(n_assets):
        name = f"asset{seed}-{number}"
        kind = (TEXT, IMAGE, AUDIO)[number % 3]
        assets.append(asset(name, f"/data/{name}", modality=kind, n_segments=3))
        for index in range(3):
            place = {"start_s": 0.1 * index, "end_s": 1.5} if kind == AUDIO else {}
            if kind == TEXT:
                place = {"char_start": 10 * index, "char_end": 10 * index + 9}
            segments.append(segment(name, index, next(embeddings), kind, **place))
    return assets, segments


def names(hits: list[ScoredSegment]) -> list[str]:
    return [hit.segment_id for hit in hits]


def assert_same_answers(store: VectorStore, oracle: VectorStore, limit: int = 20) -> None:
    queries = vectors(5, seed=99)
    for modality in (TEXT, IMAGE, AUDIO, VIDEO):
        got, wanted = (s.search(queries, [modality], limit) for s in (store, oracle))
        for one, other in zip(got, wanted, strict=True):
            cosines = [[hit.cosine for hit in hits] for hits in (one, other)]
            np.testing.assert_allclose(cosines[0], cosines[1], atol=1e-5)
            assert names(one) == names(other)
            assert [_place(hit) for hit in one] == [_place(hit) for hit in other]
    for query, shift, kinds in zip(queries, (1, 0, -2.5, 3, 1), _MIXTURES, strict=True):
        by = {m: shifted(c, shift) for m, c in oracle.calibrations.scoring().constants.items()}
        one, other = (s.search(query[None], kinds, limit, by=by)[0] for s in (store, oracle))
        np.testing.assert_allclose(
            [hit.cosine for hit in one], [hit.cosine for hit in other], atol=1e-5
        )
        assert names(one) == names(other)


_MIXTURES: list[Collection[Modality]]
_MIXTURES = [{TEXT, IMAGE, AUDIO, VIDEO}, [TEXT, AUDIO], [AUDIO, IMAGE], [IMAGE, TEXT], [VIDEO]]


def _place(hit: ScoredSegment) -> tuple[object, ...]:
    return hit.asset_id, hit.modality, hit.start_s, hit.end_s, hit.char_start, hit.char_end

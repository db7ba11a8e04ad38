"""How many Python frames a query passes on its way to the model and to Milvus."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnxruntime
import pymilvus
import pytest

from encoder import MultiModalEncoder
from encoder.types import TEXT, Item
from search import Query, SearchEngine
from search.api.config import ApiConfig
from search.api.middleware.metrics import Metrics
from search.store.milvus.store import MilvusStore
from search.store.schema import segment_id
from search.types import AssetRow, SegmentRow
from workers.serving.composition import query_encoder

TO_ONNX, TO_MILVUS = 17, 17  # two of the latter keep the deadline and the filter


def frames_below_search() -> list[str]:
    """The functions from `SearchEngine.search` to the caller of this function's caller."""
    names: list[str] = []
    frame = sys._getframe(2)
    while frame.f_back is not None:
        names.insert(0, frame.f_code.co_qualname)
        if frame.f_code is SearchEngine.search.__code__:
            return names
        frame = frame.f_back
    return []  # another thread: for one of several modalities, or for words


@contextmanager
def traced(owner: type, method: str) -> Iterator[list[list[str]]]:
    """The frames at each call of a method, made by a search in its own thread."""
    found: list[list[str]] = []
    real = getattr(owner, method)

    def spy(*args: Any, **options: Any) -> Any:
        if names := frames_below_search():
            found.append(names)
        return real(*args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, method, spy)
        yield found


@pytest.mark.usefixtures("bundle_home")
def test_a_query_takes_few_frames(tmp_path: Path) -> None:
    """Every frame is one more function to read; the bounds may only fall.

    For a server, Milvus answers; for a folder, the index next to Lite does.
    """
    model = MultiModalEncoder(quantization="auto", enable_dsre="auto")
    space = model.space
    (row,) = model.encode_items([Item(TEXT, "bread")])
    segment = SegmentRow(segment_id("bread", TEXT, 0, space.fingerprint), "bread", TEXT, 0, row)
    store = MilvusStore(
        tmp_path / "store", space.fingerprint, space.embed_dim, calibration=space.calibration
    )
    store.write([AssetRow("bread", TEXT, "text/plain", 5, 1, ["/bread.txt"])], [segment])
    engine = SearchEngine(query_encoder(model, ApiConfig(), Metrics()), store)
    with (
        traced(onnxruntime.InferenceSession, "run") as runs,
        traced(pymilvus.MilvusClient, "search") as searches,
    ):
        (hit,) = engine.search(Query([Item(TEXT, "a loaf")], [TEXT])).hits
    engine.close()
    store.close()
    assert hit.asset_id == "bread"
    assert len(runs[0]) <= TO_ONNX, "\n".join(runs[0])
    assert len(searches[0]) <= TO_MILVUS, "\n".join(searches[0])

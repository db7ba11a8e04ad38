"""Filters give the same assets in every store: those for which `matches` holds."""

from __future__ import annotations

import pytest

from encoder.types import IMAGE, TEXT
from search.filters import matches, parse_filter
from search.store.base import VectorStore
from search.types import AssetRow

ROWS = [
    AssetRow(
        "a1",
        IMAGE,
        "image/png",
        10,
        1,
        ["/data/photos/a.png", "/copy/a.png"],
        {"title": "Beach", "tags": ["sea", "sun"], "width": 640, "license": "CC0"},
    ),
    AssetRow(
        "a2", IMAGE, "image/jpeg", 2000, 1, ["/data/photos2/b.jpg"], {"title": "b", "width": 32.5}
    ),
    AssetRow(
        "a3",
        TEXT,
        "text/plain",
        7,
        1,
        ['/data/it\'s "q".txt'],
        {"language": "en", "modified": 1767225600.0, "camera": {"flash": True, "iso": "100"}},
    ),
    AssetRow("a4", TEXT, "text/plain", 0, 0, ["/d"], {"language": None, "tags": [], "width": "9"}),
]

FILTERS = [
    ({"field": "modality", "eq": "image"}, "a1 a2"),
    ({"field": "media_type", "prefix": "image/"}, "a1 a2"),
    ({"field": "media_type", "contains": "plain"}, "a3 a4"),
    ({"field": "size_bytes", "gt": 6.5, "lte": 10}, "a1 a3"),
    ({"field": "size_bytes", "in": [0, 2000, 3.5]}, "a2 a4"),
    ({"field": "path", "prefix": "/data/photos"}, "a1 a2"),
    ({"field": "path", "prefix": "/data/photos/"}, "a1"),
    ({"field": "path", "prefix": ""}, "a1 a2 a3 a4"),
    ({"field": "path", "eq": "/copy/a.png"}, "a1"),
    ({"field": "path", "ne": "/copy/a.png"}, "a2 a3 a4"),
    ({"field": "path", "contains": 's "q"'}, "a3"),
    ({"not": {"field": "path", "prefix": "/data/"}}, "a4"),
    ({"field": "tags", "contains": "sea"}, "a1"),
    ({"field": "tags", "exists": True}, "a1 a4"),
    ({"not": {"field": "tags", "contains": "sea"}}, "a2 a3 a4"),
    ({"field": "width", "gte": 32.5}, "a1 a2"),
    ({"field": "width", "ne": 640}, "a2 a4"),
    ({"field": "language", "ne": "de"}, "a3"),
    ({"field": "language", "exists": False}, "a1 a2 a4"),
    ({"not": {"field": "language", "eq": "en"}}, "a1 a2 a4"),
    ({"field": "modified", "gte": "2026-01-01"}, "a3"),
    ({"field": "modified", "gt": "2026-01-01T00:00:00+00:00"}, ""),
    ({"field": "metadata.camera.flash", "eq": True}, "a3"),
    ({"field": "metadata.camera.iso", "eq": 100}, ""),
    ({"field": "metadata.camera.iso", "in": ["100", 100]}, "a3"),
    ({"field": "metadata.camera", "exists": True}, "a3"),
    ({"or": [{"field": "title", "eq": "b"}, {"field": "title", "gt": "Be", "lt": "C"}]}, "a1 a2"),
    (
        {
            "and": [
                {"field": "modality", "in": ["image", "video"]},
                {"or": [{"field": "tags", "contains": "sun"}, {"field": "width", "lt": 33}]},
                {"not": {"field": "metadata.license", "eq": "CC0"}},
            ]
        },
        "a2",
    ),
]


@pytest.mark.parametrize(("data", "wanted"), FILTERS, ids=[str(data) for data, _ in FILTERS])
def test_the_oracle_finds_what_is_meant(data: object, wanted: str) -> None:
    found = [row.asset_id for row in ROWS if matches(parse_filter(data), row)]
    assert " ".join(found) == wanted


def test_every_store_selects_what_the_oracle_finds(store: VectorStore) -> None:
    store.write(ROWS, [])
    for data, wanted in FILTERS:
        filter = parse_filter(data)
        assert " ".join(store.select(filter)) == wanted, data
        assert " ".join(store.select(filter, limit=1)) == wanted[:2]
        assert store.count(filter) >= len(wanted.split())
    assert store.count() == len(ROWS)

"""Assets are found by what they are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from encoder.space import Space, l2_normalize
from encoder.types import IMAGE, TEXT, Embeddings, Item
from search import Query, SearchEngine
from search.lexical.name_index import NameIndex
from search.store.memory import MemoryStore
from search.types import AssetRow, JsonValue, SegmentRow

DIM = 4
N_PHOTOS = 60


class Encoder:
    """All queries mean the same; photo 0 is nearest to it, then photo 1, and so on."""

    space = Space(DIM, {"model": "one"})

    def encode_items(self, items: Sequence[Item]) -> Embeddings:
        return np.tile(np.eye(DIM, dtype=np.float32)[0], (len(items), 1))


def photo(n: int, path: str, **metadata: JsonValue) -> tuple[AssetRow, SegmentRow]:
    name = f"photo{n:02}"
    embedding = l2_normalize(np.array([[1, 0.1 + n / 20, 0, 0]], np.float32))[0]
    row = AssetRow(name, IMAGE, "image/jpeg", 1, 1, [path], metadata)
    return row, SegmentRow(f"{name}s", name, IMAGE, 0, embedding)


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore(DIM)
    rows = [photo(n, f"/home/ada/holiday/DSC{n:04}.jpg") for n in range(N_PHOTOS)]
    rows[50] = photo(50, "/home/ada/BadHomburg/IMG_0042.jpg", tags=["Möwe"])
    rows[55] = photo(55, "/home/ada/x.jpg", places=["Beijing", "北京"], caption="The old tea house")
    store.write([asset for asset, _ in rows], [segment for _, segment in rows])
    return store


def first(store: MemoryStore, text: str, **asked: bool) -> str:
    engine = SearchEngine(Encoder(), store)
    hits = engine.search(Query([Item(TEXT, text)], limit=5, **asked)).hits  # type: ignore[arg-type]
    engine.close()
    return hits[0].asset_id


@pytest.mark.parametrize(
    "text",
    ["IMG_0042", "img 0042.jpg", "IMG0042", "bad homburg", "BadHomburg", "möwe"],
)
def test_a_name_puts_its_asset_in_front(store: MemoryStore, text: str) -> None:
    assert first(store, text) == "photo50"


@pytest.mark.parametrize("text", ["北京", "beijing", "old tea house"])
def test_places_and_captions_are_names(store: MemoryStore, text: str) -> None:
    assert first(store, text) == "photo55"


@pytest.mark.parametrize(
    "text", ["a seagull eats chips in Homburg town", "IMG_0043", "house", "two men drink old wine"]
)
def test_a_part_of_a_query_does_not_outweigh_its_meaning(store: MemoryStore, text: str) -> None:
    assert first(store, text) == ("photo00" if text != "house" else "photo55")


def test_scores_stay_those_of_the_list(store: MemoryStore) -> None:
    engine = SearchEngine(Encoder(), store)
    plain = engine.search(Query([Item(TEXT, "IMG_0042")], limit=3, lexical=False)).hits
    named = engine.search(Query([Item(TEXT, "IMG_0042")], limit=3)).hits
    engine.close()
    assert [hit.score for hit in named] == [hit.score for hit in plain]
    assert plain[0].asset_id == named[1].asset_id == "photo00"


def test_folders_count_only_for_those_who_see_paths(store: MemoryStore) -> None:
    assert first(store, "bad homburg", folder_names=False) == "photo00"
    assert first(store, "IMG_0042", folder_names=False) == "photo50"


def test_a_renamed_file_is_found_without_its_embedding(store: MemoryStore) -> None:
    names = NameIndex(store)
    assert set(names.find("regatta", with_folders=True)) == set()
    row = store.assets(["photo50"])["photo50"]
    store.write([replace(row, locations=["/home/ada/regatta/2.jpg"])], [])
    store.delete(["photo55"])
    names._next_s = 0.0  # as five seconds later
    names.find("regatta", with_folders=True)
    assert names._thread is not None
    names._thread.join()
    assert set(names.find("regatta", with_folders=True)) == {"photo50"}
    assert "photo50" not in names.find("IMG_0042", with_folders=True)
    assert not names.find("北京", with_folders=True)
    names.close()

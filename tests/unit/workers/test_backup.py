"""Stores in folders are copied while others write."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest

from encoder.errors import DiskError, InputError
from encoder.space import Space
from encoder.types import IMAGE, TEXT
from search.errors import StoreMovedError
from search.store.base import VectorStore
from search.store.lanes import StoreLanes
from search.store.locks import exclusive
from search.store.open import open_lanes
from search.store.space_record import FolderRecord, SearchedSpace
from search.types import AssetRow, SegmentRow
from workers.library.backup import back_up, folder_of

HOME, PICTURES = Space(4, {"model": "texts"}), Space(6, {"model": "pictures"})


def opened(folder: Path, *, create: bool = True) -> VectorStore:
    lanes = StoreLanes.of(HOME, {IMAGE: PICTURES})
    return open_lanes(str(folder), lanes, encoder={"model": "x"}, create=create)


def put(store: VectorStore, number: int) -> None:
    """An asset with a segment in each lane."""
    name = f"asset{number}"
    asset = AssetRow(name, IMAGE, "image/png", 1, {IMAGE: 1, TEXT: 1}, [f"/{number}.png"])
    text, picture = (np.eye(1, space.embed_dim, dtype=np.float32)[0] for space in (HOME, PICTURES))
    segments = [
        SegmentRow(f"{name}t", name, TEXT, 0, text, snippet="Ferries"),
        SegmentRow(f"{name}p", name, IMAGE, 0, picture),
    ]
    with exclusive(store, [name]):
        store.write([asset], segments)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[VectorStore]:
    with closing(opened(tmp_path / "store")) as store:
        put(store, 0)
        yield store


def test_the_lanes_of_a_copy_fit_together(store: VectorStore, tmp_path: Path) -> None:
    (tmp_path / "store" / "roots").mkdir()
    (tmp_path / "store" / "roots" / "one.json").write_text("{}")
    stopped = Event()

    def write() -> None:
        with closing(opened(tmp_path / "store")) as other:
            for number in range(1, 1000):
                if stopped.is_set():
                    return
                put(other, number)
                if number % 3 == 0:
                    with exclusive(other, [f"asset{number - 1}"]):
                        other.delete([f"asset{number - 1}"])

    writer = Thread(target=write)
    writer.start()
    numbers = [back_up(tmp_path / "store", store, tmp_path / f"copy{n}") for n in range(5)]
    stopped.set()
    writer.join()
    assert numbers == sorted(numbers)
    for number, n_assets in enumerate(numbers):
        folder = tmp_path / f"copy{number}"
        assert {path.name for path in folder.iterdir()} == {"current.json", "roots", "content"}
        with closing(opened(folder, create=False)) as copy:
            assert copy.count() == n_assets
            assert copy.sizes() == {TEXT: n_assets, IMAGE: n_assets}
            assert not copy.check(lambda *_: None).wrong  # type: ignore[attr-defined]
            assert copy.lexical("ferries", 9)


def test_a_store_that_is_moved_meanwhile_is_not_copied(
    store: VectorStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = FolderRecord(tmp_path / "store")
    lanes = {str(IMAGE): PICTURES.fingerprint}
    current = SearchedSpace(HOME.fingerprint, {"model": "x"}, None, "f00d", lanes)
    record.write(current)
    back_up(tmp_path / "store", store, tmp_path / "copy")
    assert FolderRecord(tmp_path / "copy").read() == current
    copied = store.backup  # type: ignore[attr-defined]

    def moved(folder: Path) -> int:
        record.write(SearchedSpace("f00d"))
        return copied(folder)  # type: ignore[no-any-return]

    monkeypatch.setattr(store, "backup", moved)
    with pytest.raises(StoreMovedError):
        back_up(tmp_path / "store", store, tmp_path / "another")
    assert not list((tmp_path / "another").iterdir())


def test_a_copy_that_fails_leaves_nothing(
    store: VectorStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", fail)
        with pytest.raises(DiskError):
            back_up(tmp_path / "store", store, tmp_path / "copy")
    assert not list((tmp_path / "copy").iterdir())
    assert back_up(tmp_path / "store", store, tmp_path / "copy") == 1
    with pytest.raises(InputError, match="new or empty folder"):
        back_up(tmp_path / "store", store, tmp_path / "copy")


@pytest.mark.parametrize("uri", ["memory:", "http://me:secret@localhost:19530", "x.db"])
def test_other_stores_are_exported(uri: str) -> None:
    with pytest.raises(InputError, match="store export") as refused:
        folder_of(uri)
    assert "secret" not in str(refused.value)

"""Stores in folders are copied while others write, and restored beside what is there."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest

from encoder.errors import AnymodalError, DiskError, InputError
from encoder.space import Space
from encoder.system.disk import RESERVE_BYTES
from encoder.types import IMAGE, TEXT
from search.errors import StoreError, StoreGoneError, StoreMovedError
from search.store.base import VectorStore
from search.store.lanes import StoreLanes
from search.store.locks import exclusive
from search.store.open import open_lanes
from search.store.space_record import FolderRecord, SearchedSpace
from search.types import AssetRow, SegmentRow
from tests.faults.disk import small_disk
from workers.library.backup import back_up, folder_of, restore

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


def ids(folder: Path) -> set[str]:
    """The assets of a store in which nothing is wrong."""
    with closing(opened(folder, create=False)) as store:
        assert not store.check(lambda *_: None).wrong  # type: ignore[attr-defined]
        return {*store.assets([f"asset{number}" for number in range(9)])}


def quiet(*_: object) -> None: ...


@pytest.fixture
def backup(store: VectorStore, tmp_path: Path) -> Path:
    """Of the store when it had one asset; it has two now."""
    (tmp_path / "store" / "roots").mkdir()
    FolderRecord(tmp_path / "store").write(
        SearchedSpace(HOME.fingerprint, {"model": "x"}, lanes={str(IMAGE): PICTURES.fingerprint})
    )
    back_up(tmp_path / "store", store, tmp_path / "copy")
    put(store, 1)
    (tmp_path / "store" / "roots" / "later.json").write_text("{}")
    return tmp_path / "copy"


def test_a_restored_store_is_as_it_was(store: VectorStore, backup: Path, tmp_path: Path) -> None:
    (tmp_path / "store" / "uploads").mkdir()
    for folder in (tmp_path / "store", tmp_path / "new" / "place"):
        assert restore(backup, folder, quiet) == 1
        assert ids(folder) == {"asset0"}
        assert not list((folder / "roots").iterdir())
        assert not (folder / ".restoring").exists()
    assert (tmp_path / "store" / "uploads").is_dir()
    assert ids(backup) == {"asset0"}
    assert store.count() == 2, "who has the former one open reads it"
    with pytest.raises(StoreGoneError):
        put(store, 2)
    assert ids(tmp_path / "store") == {"asset0"}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    "damage",
    [
        lambda copy: cut(copy / "content" / "store.db"),
        lambda copy: cut(max(copy.glob("content/vectors/*.rows"))),
        lambda copy: max(copy.glob("content/vectors/*.rows")).unlink(),
        lambda copy: (copy / "content" / "store.db").write_bytes(b"PK\x03\x04" * 5000),
        lambda copy: (copy / "content" / "store.db").unlink(),
        lambda copy: cut(copy / "current.json"),
        lambda copy: (copy / "current.json").unlink(),
        lambda copy: shutil.rmtree(copy / "content"),
    ],
    ids=["database cut", "rows cut", "no rows", "foreign", "no database", "record cut", "no record",
         "no content"],
)  # fmt: skip
@pytest.mark.parametrize("is_new", [False, True])
def test_a_damaged_backup_changes_nothing(
    damage: Callable[[Path], object], is_new: bool, store: VectorStore, backup: Path, tmp_path: Path
) -> None:
    damage(backup)
    folder = tmp_path / ("new" if is_new else "store")
    with pytest.raises(AnymodalError) as refused:
        restore(backup, folder, quiet)
    assert str(backup) in str(refused.value)
    if is_new:
        assert not list(folder.iterdir())
    else:
        assert ids(folder) == {"asset0", "asset1"}
        put(store, 2)


def test_a_damaged_store_is_replaced(store: VectorStore, backup: Path, tmp_path: Path) -> None:
    store.close()
    cut(tmp_path / "store" / "content" / "store.db")
    cut(tmp_path / "store" / "current.json")
    restore(backup, tmp_path / "store", quiet)
    assert ids(tmp_path / "store") == {"asset0"}


@pytest.mark.parametrize("place", ["copy", "copy/in", "."])
def test_a_backup_is_not_restored_over_itself(backup: Path, place: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="apart from"):
        restore(backup, tmp_path / place, quiet)
    assert ids(backup) == {"asset0"}


def test_others_files_are_left_alone(backup: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    with pytest.raises(StoreError, match="holds other files"):
        restore(backup, tmp_path / "photos", quiet)
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["a.jpg"]


@pytest.mark.root
def test_a_full_disk_leaves_the_former_store(backup: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", RESERVE_BYTES / 2**20 + 16) as disk:
        folder = disk.folder / "store"
        with closing(opened(folder)) as store:
            for number in range(3):
                put(store, number)
        disk.fill()
        with pytest.raises(DiskError, match="cannot be written"):
            restore(backup, folder, quiet)
        disk.free()
        assert ids(folder) == {"asset0", "asset1", "asset2"}
        assert restore(backup, folder, quiet) == 1
        assert ids(folder) == {"asset0"}


def test_an_interrupted_exchange_loses_neither(
    backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "store"
    replace = Path.replace

    def fail(path: Path, target: Path) -> Path:
        if target == folder / "content" and "former" not in path.parts:
            raise OSError(5, "Input/output error")
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail)
        with pytest.raises(OSError, match="Input/output"):
            restore(backup, folder, quiet)
    assert ids(folder) == {"asset0", "asset1"}
    assert (folder / "roots" / "later.json").exists()
    (folder / ".restoring" / "former").mkdir(parents=True)  # as kill -9 leaves it there
    (folder / "content").replace(folder / ".restoring" / "former" / "content")
    with pytest.raises(InputError):
        restore(tmp_path / "none", folder, quiet)
    assert ids(folder) == {"asset0", "asset1"}
    assert restore(backup, folder, quiet) == 1

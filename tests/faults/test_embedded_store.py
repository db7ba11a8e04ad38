"""Milvus Lite under a second process, kill -9, a fork, and threads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import pytest

from encoder.types import IMAGE
from search.errors import StoreBusyError, StoreError
from search.store.base import VectorStore
from search.store.embedded.side import SIDE
from search.store.embedded.store import EmbeddedStore
from search.store.lite.read_only import Mirror
from search.store.open import open_store
from tests.contract.rows import DIM, SPACE, asset, record_of, segment, vectors

ROOT = Path(__file__).parents[2]

WRITER = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
from search.store.open import open_store
from tests.contract.rows import DIM, SPACE, asset, segment, vectors

store = open_store(sys.argv[1], SPACE, DIM)
def write(number):
    name = f"asset{number}"
    rows = [segment(name, i, row) for i, row in enumerate(vectors(20, seed=number))]
    store.write([asset(name, f"/{name}", n_segments=20)], rows)
    os.write(1, f"{name}\\n".encode())  # acknowledged; one call, so that lines stay whole
with ThreadPoolExecutor(4) as pool:
    list(pool.map(write, range(int(sys.argv[2]))))
os.write(1, b"all\\n")
sys.stdin.read()
"""

MENDER = """
import sys
from pathlib import Path
from search.store.lite.in_process import start_lite
from search.store.open import open_store
from tests.contract.rows import DIM, SPACE

start_lite(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.readline()
store = open_store(sys.argv[1], SPACE, DIM)
sys.stdin.read()
"""

READER = """
import sys
from encoder.types import IMAGE
from search.store.open import open_store
from tests.contract.rows import DIM, SPACE, vectors

store = open_store(sys.argv[1], SPACE, DIM, create=False, hold=False)
print(len(store.search(vectors(1), IMAGE, 100)[0]), store.count(), len(list(store.scan())))
print({"pymilvus", "milvus_lite"} & set(sys.modules))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(folder: Path) -> Iterator[VectorStore]:
    store = open_store(str(folder), SPACE, DIM)
    yield store
    store.close()


def start_writer(folder: Path, n_assets: int) -> subprocess.Popen[str]:
    return start(WRITER, str(folder), str(n_assets))


def start(script: str, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def kill(process: subprocess.Popen[str]) -> str:
    """Kill -9; what it had printed after what was read before."""
    process.send_signal(signal.SIGKILL)
    rest, _ = process.communicate(timeout=60)
    return rest


def found_segments(store: VectorStore, name: str) -> int:
    hits = store.search(vectors(1), IMAGE, 10_000)[0]
    return sum(hit.asset_id == name for hit in hits)


def test_a_second_process_learns_who_holds_the_store(folder: Path) -> None:
    holder = start_writer(folder, 1)
    assert holder.stdout is not None
    try:
        while holder.stdout.readline() != "all\n":
            pass
        with pytest.raises(StoreBusyError, match=rf"process {holder.pid}\.") as caught:
            open_store(str(folder), SPACE, DIM)
        assert str(folder) in str(caught.value)
        assert "--store http://" in caught.value.remedy
    finally:
        kill(holder)
    store = open_store(str(folder), SPACE, DIM)
    assert list(store.assets(["asset0"])) == ["asset0"]
    store.close()


def test_reading_needs_neither_the_folder_nor_milvus(folder: Path) -> None:
    holder = start_writer(folder, 2)
    assert holder.stdout is not None
    try:
        while holder.stdout.readline() != "all\n":
            pass
        words = [sys.executable, "-c", READER, str(folder)]
        done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)
        assert done.stdout.split() == ["40", "2", "2", "set()"], done.stderr
    finally:
        kill(holder)


def test_a_reader_waits_while_another_process_mends_the_index(
    folder: Path, store: VectorStore
) -> None:
    store.write([asset("a", "/a")], [segment("a", 0, vectors(1)[0])])
    # As after a kill: the record has a row that the index lacks.
    record_of(store).write([asset("b", "/b")], [segment("b", 0, vectors(2)[1])])
    store.close()
    mender = start(MENDER, str(folder))
    assert mender.stdin is not None
    assert mender.stdout is not None
    try:
        assert mender.stdout.readline() == "held\n"
        with ThreadPoolExecutor(1) as pool:
            opened = pool.submit(open_store, str(folder), SPACE, DIM, hold=False)
            with pytest.raises(TimeoutError):
                opened.result(0.5)
            mender.stdin.write("\n")
            mender.stdin.flush()
            reader = opened.result()
        assert {row.asset_id for row in reader.scan()} == {"a", "b"}
        reader.close()
    finally:
        kill(mender)


def test_a_reader_that_mended_the_index_leaves_the_folder_to_writers(
    folder: Path, store: VectorStore
) -> None:
    store.write([asset("a", "/a")], [segment("a", 0, vectors(1)[0])])
    record_of(store).write([asset("b", "/b")], [segment("b", 0, vectors(2)[1])])
    store.close()
    reader = open_store(str(folder), SPACE, DIM, hold=False)
    writer = start_writer(folder, 1)
    assert writer.stdout is not None
    try:
        assert writer.stdout.readline() == "asset0\n"
        assert {row.asset_id for row in reader.scan()} == {"a", "b", "asset0"}
    finally:
        kill(writer)
        reader.close()


def test_a_store_opened_to_read_writes_as_any(folder: Path, store: VectorStore) -> None:
    store.close()
    reader = open_store(str(folder), SPACE, DIM, hold=False)
    reader.write([asset("a", "/a")], [segment("a", 0, vectors(1)[0])])
    other = subprocess.run(
        [sys.executable, "-c", WRITER, str(folder), "1"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert "is in use by this process's parent" in other.stderr
    assert reader.count() == 1
    reader.close()


@pytest.mark.parametrize("acknowledged", [1, 20])
def test_what_was_acknowledged_survives_kill_9(folder: Path, acknowledged: int) -> None:
    writer = start_writer(folder, 200)
    assert writer.stdout is not None
    names = [writer.stdout.readline().strip() for _ in range(acknowledged)]
    names += kill(writer).split()
    store = open_store(str(folder), SPACE, DIM)
    assert set(names) - {"all"} <= set(store.assets(names))
    for row in store.scan():
        assert found_segments(store, row.asset_id) == 20
    store.close()


@pytest.mark.parametrize("is_mirrored", [False, True])
def test_indexes_of_earlier_versions_are_dropped_unread(
    store: VectorStore, folder: Path, is_mirrored: bool
) -> None:
    """Lite's own, of which a killed process may have left one half written."""
    rows = vectors(3)
    store.write([asset("a", "/a")], [segment("a", n, row) for n, row in enumerate(rows)])
    record = cast(EmbeddedStore, store).record
    record.flush()
    lite, name = record._link.in_process, record._rows.name(record._segments)
    assert lite
    collection = lite._database.get_collection(name)
    collection.create_index("embedding", {"index_type": "FLAT", "metric_type": "IP"})
    collection.create_index("asset_id", {"index_type": "INVERTED"})
    collection.release()
    collection.load()
    assert {path.suffix for path in lite_indexes(folder)} == {".idx", ".sidx"}
    for path in lite_indexes(folder):
        path.write_bytes(path.read_bytes()[:-1])
    store.close()
    mirror = Mirror(folder, SIDE) if is_mirrored else None
    place = mirror.folder if mirror else folder
    again = open_store(str(place), SPACE, DIM)
    record = cast(EmbeddedStore, again).record
    assert lite_indexes(place) == []
    assert len(record.embeddings("a")) == 3
    if not mirror:
        again.write([asset("b", "/b")], [segment("b", 0, rows[0])])
        (hits,) = again.search(rows[:1], IMAGE, 4)
        assert {hit.asset_id for hit in hits[:2]} == {"a", "b"}
    again.close()
    if mirror:
        mirror.close()


def lite_indexes(folder: Path) -> list[Path]:
    found = (folder / "collections").rglob("*.*idx")
    return [path for path in found if path.parent.name == "indexes"]


def test_threads_of_one_process_share_the_store(store: VectorStore, folder: Path) -> None:
    def write_and_read(number: int) -> bool:
        name = f"asset{number}"
        own = open_store(str(folder), SPACE, DIM)
        own.write([asset(name, f"/{name}")], [segment(name, 0, vectors(1, seed=number)[0])])
        seen = name in own.assets([name])
        own.close()
        return seen

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(write_and_read, range(24)))
    assert len(list(store.scan())) == 24
    assert len(store.search(vectors(1), IMAGE, 100)[0]) == 24


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_store_from_before_a_fork_says_so_and_does_not_hang(store: VectorStore) -> None:
    child = os.fork()
    if child == 0:
        try:
            store.assets(["a"])
        except StoreError as error:
            os._exit(0 if "forked" in str(error) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_cannot_open_the_folder_of_its_parent(
    store: VectorStore, folder: Path
) -> None:
    child = os.fork()
    if child == 0:
        try:
            open_store(str(folder), SPACE, DIM)
        except StoreBusyError as error:
            os._exit(0 if "parent" in str(error) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert store.assets(["a"]) == {}


def test_a_folder_of_other_files_is_left_alone(folder: Path) -> None:
    folder.mkdir()
    (folder / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(StoreError, match=r"other files.*Choose a new"):
        open_store(str(folder), SPACE, DIM)
    assert [path.name for path in folder.iterdir()] == ["holiday.jpg"]


def test_a_file_is_no_store(folder: Path) -> None:
    folder.write_bytes(b"x")
    with pytest.raises(StoreError, match="is a file"):
        open_store(str(folder), SPACE, DIM)

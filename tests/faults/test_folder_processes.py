"""A folder under several processes, kill -9, a fork, and threads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from encoder.types import IMAGE
from search.errors import StoreError
from search.store.base import VectorStore
from search.store.open import open_store
from tests.contract.rows import DIM, SPACE, asset, segment, vectors

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
    list(pool.map(write, range(int(sys.argv[3]), int(sys.argv[3]) + int(sys.argv[2]))))
os.write(1, b"all\\n")
sys.stdin.read()
"""

READER = """
import sys
from encoder.types import IMAGE
from search.store.open import open_store
from tests.contract.rows import DIM, SPACE, vectors

store = open_store(sys.argv[1], SPACE, DIM, create=False)
print(len(store.search(vectors(1), [IMAGE], 100)[0]), store.count(), len(list(store.scan())))
print({"pymilvus", "milvus_lite", "pyarrow", "pandas"} & set(sys.modules))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(folder: Path) -> Iterator[VectorStore]:
    store = open_store(str(folder), SPACE, DIM)
    yield store
    store.close()


def start_writer(folder: Path, n_assets: int, offset: int = 0) -> subprocess.Popen[str]:
    return start(WRITER, str(folder), str(n_assets), str(offset))


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
    hits = store.search(vectors(1), [IMAGE], 10_000)[0]
    return sum(hit.asset_id == name for hit in hits)


def test_a_second_process_reads_while_the_first_has_it_open(folder: Path) -> None:
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


def test_processes_write_at_the_same_time(folder: Path, store: VectorStore) -> None:
    store.write([asset("here", "/here")], [segment("here", 0, vectors(1)[0])])
    writers = [start_writer(folder, 15, offset=offset) for offset in (0, 100)]
    for n in range(15):
        store.write([asset(f"own{n}", f"/own{n}")], [segment(f"own{n}", 0, vectors(1, n)[0])])
    for writer in writers:
        assert writer.stdout is not None
        while writer.stdout.readline() != "all\n":
            assert writer.poll() is None
        kill(writer)
    assert store.count() == 1 + 15 + 30
    for row in store.scan():
        assert found_segments(store, row.asset_id) == row.n_segments
    findings = store.check(lambda *_: None)  # type: ignore[attr-defined]
    assert findings.wrong == {}


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
    assert len(store.search(vectors(1), [IMAGE], 100)[0]) == 24


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
def test_a_forked_child_opens_the_folder_of_its_parent(store: VectorStore, folder: Path) -> None:
    child = os.fork()
    if child == 0:
        try:
            own = open_store(str(folder), SPACE, DIM)
            own.write([asset("a", "/a")], [segment("a", 0, vectors(1)[0])])
            own.close()
        except BaseException:  # noqa: BLE001 (the parent is told)
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert store.assets(["a"])


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

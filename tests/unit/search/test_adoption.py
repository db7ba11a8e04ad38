"""Uploads in another folder, taken over by each store that shows them."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from encoder.types import TEXT
from search.store.memory import MemoryStore
from search.types import AssetRow
from search.uploads import UploadFolder
from search.uploads.adoption import adopt

A, B = "a" * 16, "b" * 16


def put(uploads: UploadFolder, text: str, **facts: object) -> Path:
    upload = uploads.begin("note.txt")
    upload.write(text.encode())
    return upload.keep(facts)


def showing(*paths: Path) -> MemoryStore:
    store = MemoryStore(4)
    rows = [
        AssetRow(path.parent.name, TEXT, "text/plain", 1, {}, ["/elsewhere.txt", str(path)])
        for path in paths
    ]
    store.write(rows, [])
    return store


def locations(store: MemoryStore) -> list[str]:
    return [uri for row in store.scan() for uri in row.locations]


def test_what_a_store_deletes_another_still_has(tmp_path: Path) -> None:
    shared = put(UploadFolder(tmp_path), "seen by two", tags=["x"])
    asset_id = shared.parent.name
    folders = [UploadFolder(tmp_path / key, tmp_path, key) for key in (A, B)]
    stores = [showing(shared), showing(shared)]
    adopt(folders[0], stores[0])
    (mine,) = [uri for uri in locations(stores[0]) if uri != "/elsewhere.txt"]
    assert Path(mine).is_relative_to(folders[0].folder)
    assert folders[0].facts_of(mine) == {"tags": ["x"]}
    assert Path(mine).stat().st_ino == shared.stat().st_ino
    assert folders[0].remove(asset_id)
    assert not Path(mine).exists()
    adopt(folders[1], stores[1])  # opened for the first time after the other had deleted it
    theirs = Path(locations(stores[1])[1])
    assert theirs.read_text() == "seen by two"
    assert theirs.is_relative_to(folders[1].folder)


def test_files_elsewhere_and_uploads_that_are_gone_keep_their_names(tmp_path: Path) -> None:
    shared = put(UploadFolder(tmp_path), "gone")
    shared.unlink()
    store = showing(shared)
    adopt(UploadFolder(tmp_path / A, tmp_path), store)
    assert locations(store) == ["/elsewhere.txt", str(shared)]


def test_a_store_that_moved_takes_its_uploads_along(tmp_path: Path) -> None:
    before, now = (UploadFolder(tmp_path / key, tmp_path, key) for key in (A, B))
    path = put(before, "kept")
    store = showing(path)
    adopt(now, store)
    before.remove(path.parent.name)
    assert Path(locations(store)[1]).read_text() == "kept"


_KILLED = """
import os, signal, sys
from pathlib import Path
from search.uploads import UploadFolder
from search.uploads.adoption import adopt
from tests.unit.search.test_adoption import locations, showing
root, at = Path(sys.argv[1]), int(sys.argv[2])
paths = sorted(path for _, path in UploadFolder(root).files())
calls = 0
def counted(frame, event, arg):
    global calls
    calls += event == "c_call" and arg.__name__ in ("link", "replace", "rename", "utime", "open")
    if calls > at:
        os.kill(os.getpid(), signal.SIGKILL)
store = showing(*paths)
sys.setprofile(counted)
adopt(UploadFolder(root / sys.argv[3], root, "s"), store)
sys.setprofile(None)
assert all(Path(uri).read_text() for uri in locations(store) if uri != "/elsewhere.txt")
"""


@pytest.mark.slow
@pytest.mark.parametrize("at", [0, 2, 4, 7])
def test_a_killed_process_leaves_what_can_be_read_and_the_next_goes_on(
    tmp_path: Path, at: int
) -> None:
    shared = [put(UploadFolder(tmp_path), f"text {n}", n=n) for n in range(3)]
    command = [sys.executable, "-c", _KILLED, str(tmp_path)]
    killed = subprocess.run([*command, str(at), A], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert all(path.read_text() for path in shared)
    done = subprocess.run([*command, "100000", A], check=False)
    assert done.returncode == 0
    assert sorted(path.read_text() for _, path in UploadFolder(tmp_path / A, tmp_path).files()) == [
        "text 0",
        "text 1",
        "text 2",
    ]


@pytest.mark.slow
def test_two_processes_at_once_end_alike(tmp_path: Path) -> None:
    for n in range(40):
        put(UploadFolder(tmp_path), f"text {n}")
    command = [sys.executable, "-c", _KILLED, str(tmp_path), "100000"]
    both = [subprocess.Popen([*command, key]) for key in (A, A, B)]
    assert [process.wait(60) for process in both] == [0, 0, 0]
    for key in (A, B):
        assert len(list(UploadFolder(tmp_path / key, tmp_path).files())) == 40

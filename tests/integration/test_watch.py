"""``anymodal watch`` as a process, with real events of the file system."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

import pytest

from tests.integration.conftest import ANYMODAL
from tests.integration.test_serve import serving

pytestmark = pytest.mark.slow


class Watching:
    """A process, and the batches that it reports."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: SimpleQueue[str] = SimpleQueue()
        Thread(target=self._read, daemon=True).start()

    def batch(self) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=200)
        except Empty:
            self.process.kill()
            raise AssertionError(f"no batch: {self.process.stderr.read()}") from None
        return dict(json.loads(line))

    def counts(self) -> tuple[int, ...]:
        told = self.batch()
        names = ("ingested", "unchanged", "failed", "dropped", "gone")
        return tuple(told[name] for name in names)

    def until(self, enough: Callable[[dict[str, int]], bool]) -> dict[str, int]:
        """The sum of as many batches as it takes."""
        total = dict.fromkeys(("ingested", "dropped", "gone", "failed"), 0)
        while not enough(total):
            told = self.batch()
            total = {name: n + told[name] for name, n in total.items()}
        return total

    def _read(self) -> None:
        for line in self.process.stdout:
            self._lines.put(line)


@contextmanager
def watching(folder: Path, store: Path | str, *options: str, **extra: str) -> Iterator[Watching]:
    process = subprocess.Popen(
        [str(ANYMODAL), "watch", str(folder), "--store", str(store), "--quiet", "0.3", *options],
        env={**os.environ, "ANYMODAL_DATA": str(Path(store).parent / "data"), **extra},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield Watching(process)
    finally:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> int:
    process.send_signal(signal.SIGTERM)
    _, complaints = process.communicate(timeout=100)
    assert "Traceback" not in complaints
    return process.returncode


def put(path: Path, text: str) -> None:
    """Put a file there in one step: a watcher that looks between two steps reports it twice."""
    written = path.parent.with_name(f"of {path.name}")
    written.write_text(text)
    written.rename(path)


@pytest.fixture
def library(tmp_path: Path, bundle_home: Path) -> Path:
    assert bundle_home.is_dir()
    folder = tmp_path / "library"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.txt").write_text(f"Note {number} about ferries.")
    return folder


def test_files_are_followed_as_they_come_change_move_and_go(library: Path, tmp_path: Path) -> None:
    with watching(library, tmp_path / "store") as watch:
        assert watch.counts() == (3, 0, 0, 0, 0)
        put(library / ".hidden", "Not this.")
        (tmp_path / "new" / "deep").mkdir(parents=True)
        (tmp_path / "new" / "deep" / "a.txt").write_text("A new note.")
        (tmp_path / "new").rename(library / "new")
        assert watch.counts() == (1, 0, 0, 0, 0)
        with (library / "0.txt").open("r+") as file:
            file.write("Another text altogether.")  # longer than the one before
        assert watch.counts()[:2] == (1, 0)
        (library / "1.txt").rename(library / "one.txt")
        (library / "new").rename(library / "old")
        assert watch.until(lambda total: total["dropped"] == 2)["ingested"] == 0
        (library / "2.txt").unlink()
        assert watch.counts() == (0, 0, 0, 0, 1)
        put(library / ".anymodalignore", "one.*\n")
        assert watch.counts()[3:] == (0, 2)  # with the one before
        assert ended(watch.process) == 0


def written(store: Path) -> int:
    """How many files the store has."""
    return sum(1 for _ in store.rglob("*"))


def test_a_kill_in_the_middle_and_what_happens_meanwhile_lose_nothing(
    library: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    with watching(library, store, ANYMODAL_SHARD_FILES="4") as watch:
        watch.batch()
        for number in range(40):
            (library / f"more-{number}.txt").write_text(f"One more, number {number}.")
        before = written(store)
        while written(store) == before:
            time.sleep(0.005)  # until the batch is being written
        watch.process.send_signal(signal.SIGKILL)
        watch.process.wait()
    (library / "0.txt").unlink()
    (library / "1.txt").rename(library / "one.txt")
    (library / "late.txt").write_text("Written while nobody looked.")
    with watching(library, store) as watch:
        told = watch.batch()
        assert (told["gone"], told["pruned"], told["dropped"], told["failed"]) == (1, 0, 1, 0)
        assert told["ingested"] + told["unchanged"] == 43
        assert ended(watch.process) == 0


def test_a_folder_that_is_emptied_or_away_loses_nothing(library: Path, tmp_path: Path) -> None:
    with watching(library, tmp_path / "store") as watch:
        watch.batch()
        library.rename(tmp_path / "away")
        library.mkdir()  # as a mount point without its disk
        while "EmptiedFolderError" not in str((told := watch.batch())["failures"]):
            assert (told["dropped"], told["gone"], told["pruned"]) == (
                0,
                0,
                0,
            )  # it may see the folder gone
        assert (told["dropped"], told["gone"], told["pruned"]) == (0, 0, 0)
        library.rmdir()
        (tmp_path / "away").rename(library)
        while (counts := watch.counts()) != (0, 3, 0, 0, 0):
            assert counts[3:] == (0, 0)
        assert ended(watch.process) == 0


def test_a_store_that_is_removed_is_made_again(library: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    with watching(library, store) as watch:
        assert watch.counts() == (3, 0, 0, 0, 0)
        shutil.rmtree(store)
        put(library / "late.txt", "Written after the store was gone.")
        assert watch.counts() == (1, 0, 0, 0, 0)
        assert written(store)
        assert ended(watch.process) == 0


def test_beside_a_server_both_write_one_store(library: Path, tmp_path: Path) -> None:
    with serving(tmp_path) as (_, client), watching(library, tmp_path / "data" / "store") as watch:
        assert watch.counts() == (3, 0, 0, 0, 0)
        (library / "0.txt").unlink()
        assert watch.counts() == (0, 0, 0, 0, 1)
        assert client.get("/v1/info").json()["assets"] == 3  # one is only marked
        assert ended(watch.process) == 0

"""A folder of data may hold ``struct.py``: no command, nor what it starts, may run it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.conftest import ANYMODAL
from tests.support.valkey import valkey_server
from tests.support.waiting import wait_for
from workers.jobs.board import JobBoard

_NAMES = ("struct", "json", "pickle", "encoder", "ingest", "search", "workers", "celery", "numpy")


class Trap:
    """A folder of modules that note it when they are imported, and commands that run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "data"
        self.folder.mkdir()
        self._sprung = folder / "sprung"
        self._log = folder / "log"
        for name in _NAMES:
            source = f"open({str(self._sprung)!r}, 'a').write(__file__ + '\\n')\n"
            (self.folder / f"{name}.py").write_text(source + "raise SystemError('sprung')\n")
        (self.folder / "tide.txt").write_text("The tide comes in twice a day.")
        self._env = {**os.environ, "ANYMODAL_DATA": str(folder / "home")}

    def start(self, *words: object) -> subprocess.Popen[str]:
        with self._log.open("a") as log:
            return subprocess.Popen(
                [str(ANYMODAL), *map(str, words)],
                cwd=self.folder,
                env=self._env,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def run(self, *words: object) -> str:
        output, _ = (process := self.start(*words)).communicate(timeout=240)
        assert process.returncode == 0, self.log()
        self.check()
        return output

    @contextmanager
    def running(self, *words: object, until: Callable[[], bool]) -> Iterator[None]:
        process = self.start(*words)
        try:
            wait_for(lambda: until() or process.poll() is not None, 120, "the start")
            assert process.poll() is None, self.log()
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=120)
        self.check()

    def log(self) -> str:
        return self._log.read_text()

    def check(self) -> None:
        assert not self._sprung.exists(), self._sprung.read_text()


@pytest.fixture
def trap(tmp_path: Path, bundle_home: Path) -> Trap:
    assert bundle_home.is_dir()
    return Trap(tmp_path)


def test_no_command_of_one_process_imports_what_lies_beside_the_data(trap: Trap) -> None:
    trap.run("ingest", ".")  # with decoder processes
    assert "tide.txt" in trap.run("search", "ebb and flow")
    serves = ("serve", "--port", 0)
    with trap.running(*serves, until=lambda: "Listening at" in trap.log()):
        pass


def test_no_worker_planner_or_server_imports_it_either(trap: Trap, tmp_path: Path) -> None:
    store = tmp_path / "store"
    with valkey_server() as valkey:
        broker = f"redis://{valkey.host}:{valkey.port}/0"
        where = ("--store", store, "--broker", broker)
        workers = ("worker", *where, "--concurrency", 2, "--loglevel", "INFO")
        with trap.running(*workers, until=lambda: "ready" in trap.log()):
            job_id = trap.run("ingest", ".", *where, "--detach").split('"')[3]
            board = JobBoard(broker)
            wait_for(lambda: board.status(job_id).ended, 120, "the job")
            trap.check()
            assert board.status(job_id).state == "done"

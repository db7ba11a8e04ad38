"""The command on a terminal, and with closed streams."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.contract.rows import asset, opened

ANYMODAL = Path(sys.executable).with_name("anymodal")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    with closing(opened(tmp_path / "store")) as store:
        store.write([asset(f"a{n}", f"/data/{n}", n_segments=0) for n in range(3)], [])
    environment = {**os.environ, "ANYMODAL_STORE": str(tmp_path / "store")}
    del environment["ANYMODAL_ENCODER__MODEL"]  # nothing is encoded
    return environment


def n_left(folder: Path) -> int:
    with closing(opened(folder / "store")) as store:
        return store.count()


@pytest.mark.parametrize(
    ("words", "answer", "left"),
    [
        (["/data"], "n", 3),
        (["/data/1", "/data/2"], "n", 3),
        (["/data"], "y", 0),
        (["/data", "--yes"], "", 0),
        (["/data/1"], "", 2),
    ],
)
def test_a_deletion_of_several_assets_asks_on_a_terminal(
    environment: dict[str, str], tmp_path: Path, words: list[str], answer: str, left: int
) -> None:
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            [ANYMODAL, "delete", *words],
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=theirs,
            env=environment,
        )
        if answer:
            os.write(ours, f"{answer}\n".encode())
        process.communicate(timeout=120)
    finally:
        os.close(theirs)
        os.close(ours)
    assert process.returncode == (130 if answer == "n" else 0)
    assert n_left(tmp_path) == left


@pytest.mark.parametrize("streams", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("words", ["list", "store check", "--version", "delete /data/1"])
def test_closed_streams_are_no_error_and_no_file_takes_their_place(
    environment: dict[str, str], tmp_path: Path, words: str, streams: str
) -> None:
    command = f"{ANYMODAL} {words} {streams}"
    done = subprocess.run(
        command, shell=True, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done
    assert "Traceback" not in done.stdout + done.stderr
    assert n_left(tmp_path) == (2 if "delete" in words else 3)

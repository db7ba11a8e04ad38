"""Ctrl-C in the middle of a job in a terminal, and the second run that does only the rest."""

import os
import pty
import re
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from tests.integration.conftest import ANYMODAL, Run

N_FILES = 200
SHARD_FILES = 16


def read_until(terminal: int, wanted: re.Pattern[bytes]) -> bytes:
    screen = b""
    while not wanted.search(screen):
        screen += os.read(terminal, 4096)
    return screen


def read_to_end(terminal: int) -> None:
    """Read until nobody writes any more: a writer to a full terminal would wait indefinitely."""
    with suppress(OSError):  # so it ends
        while os.read(terminal, 4096):
            pass


def test_the_second_run_does_only_the_rest(here: Run, tmp_path: Path) -> None:
    media = tmp_path / "many"
    media.mkdir()
    for number in range(N_FILES):
        words = f"Note {number}: the {number % 7}th harvest of field {number} was weighed. " * 4
        (media / f"{number}.txt").write_text(words)

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [ANYMODAL, "ingest", media],
        env={
            **os.environ,
            "ANYMODAL_STORE": str(tmp_path / "data" / "store"),
            "ANYMODAL_SHARD_FILES": str(SHARD_FILES),
            "TERM": "xterm",
        },
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    with process:
        # the bar is drawn ten times a second: a fast machine may skip any one number
        # and the code of its colour, which ends in a letter, comes before it
        screen = read_until(ours, re.compile(rb"(?<!\d)[1-9]\d*/%d" % N_FILES))
        process.send_signal(signal.SIGINT)
        read_to_end(ours)
        assert process.wait(60) == 130
    os.close(ours)
    assert b"ingest" in screen

    rest = here("ingest", media)
    assert SHARD_FILES <= rest["unchanged"] < N_FILES
    assert rest["ingested"] + rest["unchanged"] == N_FILES
    assert here("ingest", media)["unchanged"] == N_FILES

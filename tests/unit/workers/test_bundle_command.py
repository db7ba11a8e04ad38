"""``anymodal bundle`` on a pipe and on a terminal."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from encoder.errors import BundleError
from encoder.models.wheels import Progress
from workers.commands.bundle import bundle, describe


def test_path_and_verify_name_the_folder(bundle_home: Path) -> None:
    assert CliRunner().invoke(bundle, ["path"]).output.strip() == str(bundle_home)
    assert str(bundle_home) in CliRunner().invoke(bundle, ["verify"]).output


def test_path_of_nothing_fails(tmp_path: Path) -> None:
    result = CliRunner().invoke(bundle, ["path"], env={"ANYMODAL_HOME": str(tmp_path)})

    assert isinstance(result.exception, BundleError)


def test_fetch_prints_lines_into_a_pipe(bundle_home: Path) -> None:
    result = CliRunner().invoke(bundle, ["fetch"])

    assert result.stderr.splitlines() == [
        "text   ready",
        "image  ready",
        "audio  ready",
        "speech ready",
        "gate   preparing for ONNX Runtime",
        "gate   ready",
    ]
    assert str(bundle_home) in result.stdout


@pytest.mark.usefixtures("bundle_home")
def test_fetch_draws_bars_on_a_terminal() -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", "from workers.cli import main; main()", "bundle", "fetch"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    subprocess.run(command, stderr=theirs, stdout=subprocess.DEVNULL, env=environment, check=True)
    os.close(theirs)

    screen = os.read(ours, 100_000).decode()
    os.close(ours)
    assert "speech ready" in screen
    assert "gate   ready" in screen
    assert "70.7/70.7 MB" in screen


def test_describe_says_part_and_step() -> None:
    assert describe(Progress("text", "download", 1, 2)) == "text   downloading"
    assert describe(Progress("", "wait", 0, 0)) == "bundle waiting for another fetch"

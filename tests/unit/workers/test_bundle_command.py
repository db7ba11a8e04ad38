"""``anymodal bundle`` on a pipe and on a terminal."""

import os
import pty
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner

from encoder.errors import BundleError, ModelError
from encoder.models.bundle.wheels import FetchProgress
from workers.cli.bundle import bundle, describe


def test_path_and_verify_name_the_folder(bundle_home: Path) -> None:
    assert CliRunner().invoke(bundle, ["path", "english"]).output.strip() == str(bundle_home)
    assert str(bundle_home) in CliRunner().invoke(bundle, ["verify", "english"]).output


def test_an_unknown_bundle_lists_the_known() -> None:
    result = CliRunner().invoke(bundle, ["fetch", "other"])

    assert isinstance(result.exception, ModelError)
    assert "bundle:english" in result.exception.remedy


def test_path_of_nothing_fails(tmp_path: Path) -> None:
    result = CliRunner().invoke(bundle, ["path"], env={"ANYMODAL_HOME": str(tmp_path)})

    assert isinstance(result.exception, BundleError)


def test_fetch_prints_lines_into_a_pipe(bundle_home: Path) -> None:
    result = CliRunner().invoke(bundle, ["fetch", "english"])

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
    command = [
        sys.executable,
        "-c",
        "from workers.cli import main; main()",
        "bundle",
        "fetch",
        "english",
    ]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(
        command, stderr=theirs, stdout=subprocess.DEVNULL, env=environment
    ) as running:
        os.close(theirs)
        screen = _read_all(ours)
    assert running.returncode == 0
    assert "speech ready" in screen
    assert "gate   ready" in screen
    assert "70.7/70.7 MB" in screen


def _read_all(terminal: int) -> str:
    """What comes until the other side ends; a terminal holds 4 kB, then its writer waits."""
    seen = b""
    with os.fdopen(terminal, "rb", buffering=0) as screen, suppress(OSError):
        while part := screen.read(4096):
            seen += part
    return seen.decode()


def test_describe_says_part_and_step() -> None:
    assert describe(FetchProgress("text", "download", 1, 2)) == "text   downloading"
    assert describe(FetchProgress("", "wait", 0, 0)) == "bundle waiting for another fetch"

"""``anymodal bundle`` on a pipe and on a terminal."""

from pathlib import Path

from click.testing import CliRunner

from encoder.errors import ModelError
from workers.cli.bundle import bundle


def test_path_and_verify_name_the_folder(bundle_home: Path) -> None:
    assert CliRunner().invoke(bundle, ["path", "english"]).output.strip() == str(bundle_home)
    assert str(bundle_home) in CliRunner().invoke(bundle, ["verify", "english"]).output


def test_an_unknown_bundle_lists_the_known() -> None:
    result = CliRunner().invoke(bundle, ["fetch", "other"])

    assert isinstance(result.exception, ModelError)
    assert "bundle:english" in result.exception.remedy


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

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

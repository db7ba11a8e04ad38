"""Former names of commands run what they are called now, with a line that says so."""

import pytest
from click.testing import CliRunner

from workers.cli.main import FORMER_NAMES, anymodal


@pytest.mark.parametrize("former", FORMER_NAMES)
def test_a_former_name_still_works(former: str) -> None:
    words = FORMER_NAMES[former].split()
    before, now = (
        CliRunner().invoke(anymodal, [*command, "--help"]) for command in ([former], words)
    )
    if former != "listen":  # its recording stands before the options
        assert before.stdout.partition("\n")[2] == now.stdout.partition("\n")[2]
    assert before.exit_code == 0
    assert before.stderr == f"`anymodal {former}` is now `anymodal {FORMER_NAMES[former]}`.\n"


def test_listen_finds_its_recording_behind_options() -> None:
    words = ["listen", "--pause", "1", "--json", "no-such.wav", "--limit", "3"]
    ran = CliRunner().invoke(anymodal, words)
    assert "no-such.wav" in str(ran.exception)

"""The command in a folder that `make edge` makes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.sync_client import TARGET, generated
from tests.support.compose_files import ROOT


@pytest.mark.parametrize("home", ["", "/srv/models"])
def test_the_command_runs_what_lies_beside_it(home: str, tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    (folder / "lib" / "workers").mkdir(parents=True)
    (folder / "lib" / "workers" / "__init__.py").touch()
    printed = (
        "import os, sys; print(*sys.argv[1:], os.environ['ANYMODAL_HOME'], sep='|'); sys.exit(3)"
    )
    (folder / "lib" / "workers" / "cli.py").write_text(f"def main():\n    {printed}\n")
    (tmp_path / "workers.py").write_text("raise SystemExit('of the working directory')")
    command = folder / "anymodal"
    command.write_bytes((ROOT / "scripts" / "edge.sh").read_bytes())
    command.chmod(0o755)
    env = {**os.environ, "PYTHON": sys.executable, "ANYMODAL_HOME": home}
    done = subprocess.run(
        [command, "search", "a cat"], cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True,
        check=False,
    )  # fmt: skip
    assert (done.stdout.strip(), done.returncode) == (
        f"search|a cat|{home or folder / 'models'}",
        3,
    )


def test_the_synchronous_client_is_written_from_the_other() -> None:
    assert TARGET.read_text() == generated(), "run `python -m scripts.sync_client`"

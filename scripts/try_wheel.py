"""The wheel as a new user has it: in an empty environment, away from the clone, it runs the demo.

`python -m scripts.try_wheel WHEEL [OPTION OF UV PIP INSTALL]…`; a failing step ends it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parent.parent
UV = str(Path(sys.executable).with_name("uv"))


def try_wheel(wheel: Path, home: Path, options: Sequence[str] = ()) -> Path:
    """Run the demo in ``home``, by an environment of its own there; return that one's `anymodal`.

    The default bundle is fetched where this user has not got it.
    """
    python = home / ".venv" / "bin" / "python"
    # The demo fetches its pictures by pip, which `--seed` brings.
    subprocess.run(
        [UV, "venv", "--quiet", "--seed", "--python", sys.executable, str(home / ".venv")],
        check=True,
    )
    install = [UV, "pip", "install", "--quiet", "--python", str(python), *options, str(wheel)]
    subprocess.run(install, check=True)
    shutil.copytree(ROOT / "examples", home / "examples")
    anymodal = python.with_name("anymodal")
    for command in ([anymodal, "bundle", "fetch"], [python, "-m", "examples.demo"]):
        subprocess.run(command, cwd=home, env=new_user(), check=True)
    return anymodal


def new_user() -> dict[str, str]:
    """This environment without settings, and without a way to the clone's packages."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ANYMODAL_", "PYTHON")) or name == "ANYMODAL_HOME"
    }


if __name__ == "__main__":
    wheel, *options = sys.argv[1:]
    with TemporaryDirectory() as home:
        try_wheel(Path(wheel).absolute(), Path(home), options)

"""Shows a folder in the file manager of this machine's user."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from threading import Thread

from encoder.system.environment import variable
from search.errors import NotFoundError


def show_in_folder(path: Path) -> None:
    """Open the folder of a file; the file itself is not opened, since it could be a program.

    Raises:
        NotFoundError: this machine has no file manager or no screen; names the file instead.
    """
    command = _command(path)
    if command is None:
        raise NotFoundError(
            "The server cannot open windows on this machine.", f"The file is {path}."
        )
    null = subprocess.DEVNULL
    run = partial(subprocess.run, command, stdin=null, stdout=null, stderr=null, check=False)
    Thread(target=run, daemon=True).start()  # some file managers end with their window


def _command(path: Path) -> list[str] | None:
    if sys.platform == "darwin":
        return ["/usr/bin/open", "-R", str(path)]
    has_screen = any(map(variable, ("DISPLAY", "WAYLAND_DISPLAY")))
    opener = shutil.which("xdg-open") if has_screen else None
    return [opener, str(path.parent)] if opener else None

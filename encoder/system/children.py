"""How Python processes are started: nothing in the user's folder is ever imported by them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from encoder.system.environment import variables

_HOME = Path(__file__).resolve().parents[2]
"""The folder that holds these packages: importable even as the current folder, as in a checkout."""


def python(module: str, *arguments: object) -> list[str]:
    """The command that runs a module, with ``-P``: a ``struct.py`` next to the data is only data.

    Pass `environment` with it: ``PYTHONPATH`` may name the current folder too.
    """
    return [sys.executable, "-P", "-m", module, *map(str, arguments)]


def environment() -> dict[str, str]:
    """This process's environment, safe for children of children too."""
    return {**variables(), "PYTHONSAFEPATH": "1", "PYTHONPATH": import_path()}


def import_path() -> str:
    """Where this process imports from, for ``PYTHONPATH``: not the user's folder or script."""
    return os.pathsep.join(_safe_entries())


def _safe_entries() -> Iterator[str]:
    unsafe = _user_folders() - {_HOME}
    for entry in sys.path:
        # an empty or relative entry means the current folder, wherever that is by then
        if os.path.isabs(entry) and Path(entry).resolve() not in unsafe:  # noqa: PTH117
            yield entry


def _user_folders() -> set[Path]:
    """The current folder, and the script's, which Python puts first on the path by itself."""
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    folders = {Path(script).resolve().parent} if script else set()
    with suppress(FileNotFoundError):  # the current folder may be gone
        folders.add(Path.cwd())
    return folders

"""Text, images, sound and video, searchable with any of them.

The build gives this file the name `anymodal`; `python -m anymodal` is the command.

>>> from workers import anymodal  # installed: import anymodal
>>> anymodal.MultiModalEncoder.__module__
'encoder.multimodal'
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from encoder import MultiModalEncoder, Quantizer
    from search import SearchEngine
    from search.client import Anymodal, AsyncAnymodal
    from workers.connect import connect
    from workers.pipeline import IngestPipeline

    __version__: str

_HOMES = {
    "Anymodal": "search.client",
    "AsyncAnymodal": "search.client",
    "IngestPipeline": "workers.pipeline",
    "MultiModalEncoder": "encoder",
    "Quantizer": "encoder",
    "SearchEngine": "search",
    "connect": "workers.connect",
}
__all__ = [
    "Anymodal",
    "AsyncAnymodal",
    "IngestPipeline",
    "MultiModalEncoder",
    "Quantizer",
    "SearchEngine",
    "__version__",
    "connect",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("anymodal")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'anymodal' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__


def main() -> None:
    """The command. It imports nothing from the working folder, whose `search.py` is the user's."""
    working_folder = Path.cwd()
    if not (working_folder / "workers" / "cli").is_dir():
        sys.path[:] = [folder for folder in sys.path if folder not in ("", str(working_folder))]
    from workers.cli import main as command

    command()


def _check_names() -> None:
    """Raise an `ImportError` if a file beside the script has the name of one of our packages."""
    for name in ("encoder", "ingest", "search", "workers"):
        spec = PathFinder.find_spec(name, sys.path[:1])
        origin = Path((spec and spec.origin) or "")  # a folder without `__init__.py` comes last
        if origin.name and not origin.with_name("py.typed").is_file():
            raise ImportError(
                f"{origin} hides anymodal's package `{name}`. "
                "Rename it, or run Python with -P, which leaves out the script's folder."
            )


if __name__ == "__main__":
    main()
_check_names()

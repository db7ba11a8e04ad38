"""``anymodal up``."""

from __future__ import annotations

import signal
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import click

from encoder.system import children
from workers.cli.options import settings_options

_READY_S = 60.0
_STEADY_S = 30.0
_MOST_STARTS = 5


@click.command()
@settings_options("store")
@click.option(
    "--port",
    default=0,
    help="The port to listen on, for this machine only. [default: any free port]",
)
def up(port: int) -> None:
    """Serve the store folder, so that several commands and workers can use it at once.

    Runs until stopped, and restarts the server if it dies. Other commands find it by the folder:
    give them the same --store.
    """
    from encoder.errors import InputError
    from search.errors import StoreBusyError
    from search.store.lite.shared import is_shared, served
    from search.store.open import store_target
    from workers.config import current_settings

    folder = store_target(current_settings().store)
    if not isinstance(folder, Path):
        raise InputError("--store", got=f"{folder}, a server", wanted="a folder")
    if is_shared(folder):
        server = served(folder)
        by = f"process {server.pid} at {server.uri}" if server else "another `anymodal up`"
        raise StoreBusyError(
            f"The store {folder} is already served by {by}.",
            remedy="Nothing to do: use the same --store.",
        )
    signal.signal(signal.SIGTERM, _raise_exit)
    with ExitStack() as open_folders:
        _supervise(folder, port, open_folders)


def _supervise(folder: Path, port: int, open_folders: ExitStack) -> None:
    """Restart the server whenever it is gone, but not endlessly in a row."""
    from search.store.lite.shared import supervised

    starts, is_marked = 0, False
    while starts < _MOST_STARTS:
        began = time.monotonic()
        child = subprocess.Popen(
            children.python("search.store.lite.shared", folder, port),
            env=children.environment(),
        )
        try:
            _announce(folder, child)
            if not is_marked and child.poll() is None:  # a new folder has to be empty until then
                open_folders.enter_context(supervised(folder))
                is_marked = True
            child.wait()
        finally:
            child.terminate()
            child.wait()
        starts = 1 if time.monotonic() - began > _STEADY_S else starts + 1
        click.echo(f"The server exited with {child.returncode}; restarting it.", err=True)
        time.sleep(min(starts, 5))
    raise click.ClickException(f"The server of {folder} keeps exiting; see above.")


def _announce(folder: Path, child: subprocess.Popen[bytes]) -> None:
    from search.store.lite.shared import served

    deadline = time.monotonic() + _READY_S
    while child.poll() is None and time.monotonic() < deadline:
        server = served(folder)
        if server and server.pid == child.pid:
            click.echo(f"{folder} is served at {server.uri} by process {server.pid}")
            return
        time.sleep(0.05)


def _raise_exit(*_: object) -> None:
    raise SystemExit(0)

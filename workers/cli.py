"""The command ``anymodal``."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

import click

from encoder.system.environment import set_for_library, variable

if TYPE_CHECKING:
    from encoder.errors import AnymodalError

# numpy's BLAS keeps its threads spinning after each small product, on the cores that the models
# need: two sounds encoded side by side took as long as one after the other. The variable is read
# when numpy is imported, and children inherit it.
set_for_library("OPENBLAS_NUM_THREADS", "1")
# Also for processes that libraries start (pools, trackers of shared memory): a `struct.py` next to
# the user's data is data.
set_for_library("PYTHONSAFEPATH", "1")

_COMMANDS = {
    "bind": "Join a tower to the model's space, by pairs of files and texts.",
    "bundle": "Fetch and check the offline models.",
    "calibrate": "Make scores of all kinds comparable in a store.",
    "upgrade": "Bring a store of an earlier version to this one.",
    "delete": "Remove files, folders or assets from the store.",
    "doctor": "Say what runs where, and what does not.",
    "dsre": "Fit the gate that makes long texts cheaper.",
    "eval": "Measure how well models find what belongs to a query, on your files.",
    "export": "Write a model's towers for phones.",
    "export-onnx": "Write a quantized tower for another runtime.",
    "export-store": "Write what is stored to Parquet files.",
    "import-store": "Add what export-store wrote to a store.",
    "info": "Show what is stored of one asset.",
    "ingest": "Make files and folders searchable.",
    "jobs": "Show, retry and cancel jobs on a broker.",
    "keys": "Make, list and revoke keys of the search API.",
    "list": "List what is stored.",
    "listen": "Search for what is said, as it is said.",
    "mcp": "Let agents search the store, by the Model Context Protocol.",
    "models": "Prepare models, and show those that are ready.",
    "quantize": "Store a tower in few bits, chosen by measurement.",
    "reindex": "Move a store to another model while it is searched.",
    "search": "Find text, images, sound and moments of video.",
    "serve": "Serve the search API and its page.",
    "stats": "Count what is stored.",
    "tune-index": "Measure the indexes of a server on your vectors.",
    "up": "Share an embedded store among processes of this machine.",
    "watch": "Keep folders searchable as they change.",
    "worker": "Run tasks that others send to a broker.",
}


class LazyCommands(click.Group):
    """Imports a command's module when it is called, so that ``--help`` stays fast."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As in click, with a suggestion for a mistyped command."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            # click searches imported commands only
            raise click.NoSuchCommand(error.command_name, None, _COMMANDS, ctx) from None

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """All names."""
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command, imported now."""
        if cmd_name not in _COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(import_module(f"workers.commands.{name}"), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The list in ``--help``, written without importing the commands."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_COMMANDS.items()))


@click.command(cls=LazyCommands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="anymodal")
def anymodal() -> None:
    """Text, images, sound and video, searchable with any of them."""


def main() -> None:
    """Run the command line; the project's errors become one line and an exit code."""
    from encoder.errors import AnymodalError, InputError
    from encoder.system.disk import disk_error
    from workers.console.printable import guard_streams

    guard_streams()
    try:
        code = anymodal.main(standalone_mode=False) or 0
    except click.exceptions.Abort:
        code = 130
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except AnymodalError as error:
        if variable("ANYMODAL_DEBUG"):
            raise
        _say(error)
        code = 2 if isinstance(error, InputError) else 1
    except BrokenPipeError:
        # The reader of the output has gone, as with `head`; Python would complain again.
        sys.stdout = None
        code = 0
    except KeyboardInterrupt:
        code = 130
    except OSError as error:
        refused = disk_error(error, error.filename or "A file")
        if refused is None or variable("ANYMODAL_DEBUG"):
            raise
        _say(refused)
        code = 1
    sys.exit(code)


def _say(error: AnymodalError) -> None:
    click.echo(f"Error: {error}", err=True)

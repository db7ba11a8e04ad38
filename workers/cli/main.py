"""The command ``anymodal``."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

import click

from encoder.system.environment import set_for_library, variable
from workers.cli.variables import unread_variables

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
    "bind": "Join a tower to the model's space using pairs of files and texts.",
    "bundle": "Fetch and check the offline models.",
    "calibrate": "Make the scores of all kinds in a store comparable.",
    "check": "Check that all that is stored fits together.",
    "upgrade": "Upgrade a store to this version.",
    "delete": "Remove files, folders or assets from the store.",
    "doctor": "Check the model, the store and the broker.",
    "dsre": "Fit the gate that makes long texts cheaper.",
    "eval": "Measure how well models search your own files.",
    "export": "Export a model's towers for phones.",
    "export-onnx": "Export a quantized tower for another runtime.",
    "export-store": "Export a store to Parquet files.",
    "import-store": "Import what export-store wrote.",
    "info": "Show what is stored about one asset.",
    "ingest": "Make files and folders searchable.",
    "jobs": "Show, retry and cancel jobs on a broker.",
    "keys": "Create, list and revoke API keys.",
    "list": "List what is stored.",
    "listen": "Search by speech, as it is spoken.",
    "mcp": "Serve the store to agents over the Model Context Protocol.",
    "models": "Prepare models and show those that are ready.",
    "quantize": "Quantize a tower, with bit widths chosen by measurement.",
    "reindex": "Move a store to another model while it stays searchable.",
    "search": "Find text, images, sound and moments of video.",
    "serve": "Serve the search API and its page.",
    "stats": "Count what is stored.",
    "up": "Share an embedded store among the processes of this machine.",
    "watch": "Keep folders searchable as they change.",
    "worker": "Run tasks from a broker.",
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
        command: click.Command = getattr(import_module(f"workers.cli.{name}"), name)
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
    from workers.observe.printable import guard_streams

    if not variable("_ANYMODAL_COMPLETE"):  # what a shell evaluates is click's own, in bytes
        guard_streams()
        for sentence in unread_variables():
            click.echo(f"Warning: {sentence}", err=True)
    try:
        code = anymodal.main(prog_name="anymodal", standalone_mode=False) or 0
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

"""The command ``anymodal``."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from encoder.system.environment import READ_BY_NAME, set_for_library, variable, variables

if TYPE_CHECKING:
    from encoder.errors import AnymodalError

# numpy's BLAS keeps its threads spinning after each small product, on the cores that the models
# need: two sounds encoded side by side took as long as one after the other. The variable is read
# when numpy is imported, and children inherit it.
set_for_library("OPENBLAS_NUM_THREADS", "1")
# Also for processes that libraries start (pools, trackers of shared memory): a `struct.py` next to
# the user's data is data.
set_for_library("PYTHONSAFEPATH", "1")
# Before a model of settings is made, pydantic looks for plug-ins in every installed package.
set_for_library("PYDANTIC_DISABLE_PLUGINS", "__all__")

COMMANDS = {
    "bundle": ("bundle:bundle", "Fetch and check the offline models."),
    "delete": ("library:delete", "Remove files, folders or assets from the store."),
    "doctor": ("doctor:doctor", "Check the model, the store and the broker."),
    "info": ("library:info", "Show what is stored about one asset."),
    "ingest": ("ingest:ingest", "Make files and folders searchable."),
    "jobs": ("jobs:jobs", "Show, retry and cancel jobs on a broker."),
    "keys": ("keys:keys", "Create, list and revoke API keys."),
    "list": ("library:list_assets", "List what is stored."),
    "mcp": ("mcp:mcp", "Serve the store to agents over the Model Context Protocol."),
    "search": ("search:search", "Find text, images, sound and moments of video."),
    "serve": ("serve:serve", "Serve the search API and its page."),
    "watch": ("watch:watch", "Keep folders searchable as they change."),
    "worker": ("worker:worker", "Run tasks from a broker."),
}
STORE_COMMANDS = {
    "backup": ("store:backup", "Copy a store in a folder."),
    "calibrate": ("store:calibrate", "Make the scores of all kinds comparable."),
    "check": ("store:check", "Check that all that is stored fits together."),
    "export": ("store:export_store", "Write what is stored to Parquet files."),
    "import": ("store:import_store", "Add what `store export` wrote."),
    "reindex": ("store:reindex", "Move to another model while the store stays searchable."),
    "restore": ("store:restore", "Put a backup of a folder in its place."),
    "stats": ("library:stats", "Count what is stored."),
}
MODEL_COMMANDS = {
    "bind": ("bind:bind", "Join a tower to the model's space using pairs of files and texts."),
    "eval": ("eval:eval_models", "Measure how well models search your own files."),
    "export": ("export:export", "Export a model's towers for phones."),
    "gate": ("gate:gate", "Fit the gate that makes long texts cheaper."),
    "list": ("models:list_models", "List the models in use and those that were prepared."),
    "prepare": ("models:prepare", "Make a model ready to run."),
    "quantize": ("quantize:quantize", "Quantize a tower, with bit widths chosen by measurement."),
    "prune": ("models:prune", "Remove what can be made again on this machine."),
    "remove": ("models:remove", "Remove a model from this machine."),
    "show": ("models:show_model", "Show the sources, inputs and measurements of a model."),
    "use": ("models:use", "Choose the model of each modality."),
    "verify": ("models:verify", "Check the hash of every file of a model."),
}
_OBJECTS_PER_COLLECTION = 100_000


class LazyGroup(click.Group):
    """Imports a command's module when it is called, so that ``--help`` stays fast."""

    def __init__(self, *, table: Mapping[str, tuple[str, str]], **attrs: Any) -> None:
        super().__init__(**attrs)
        self._table = table

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As in click, with a suggestion for a mistyped command."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            # click searches imported commands only
            names = [*self._table, *self.commands]
            raise click.NoSuchCommand(error.command_name, None, names, ctx) from None

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*self._table, *super().list_commands(ctx)])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._table:
            return super().get_command(ctx, cmd_name)
        module, _, function = self._table[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(f"workers.cli.{module}"), function)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The list in ``--help``, written without importing the commands."""
        lines = {name: summary for name, (_, summary) in self._table.items()}
        lines |= {name: group.get_short_help_str(80) for name, group in self.commands.items()}
        with formatter.section("Commands"):
            formatter.write_dl(sorted(lines.items()))


@click.command(
    cls=LazyGroup, table=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="anymodal")
def anymodal() -> None:
    """Text, images, sound and video, searchable with any of them."""


@anymodal.group(cls=LazyGroup, table=STORE_COMMANDS)
def store() -> None:
    """Check, move, export and count what is stored."""


@anymodal.group(cls=LazyGroup, table=MODEL_COMMANDS)
def models() -> None:
    """Prepare, measure, shrink and join the models of this machine."""


def main() -> None:
    """Run the command line; the project's errors become one line and an exit code."""
    from encoder.errors import AnymodalError, InputError
    from encoder.system.disk import disk_error
    from workers.observe.printable import guard_streams

    # Modules, which stay to the end, are most of what Python would look for cycles in.
    gc.set_threshold(_OBJECTS_PER_COLLECTION)
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
    gc.freeze()  # looking for cycles at the exit takes a fifth of a search's CPU
    sys.exit(code)


def _say(error: AnymodalError) -> None:
    click.echo(f"Error: {error}", err=True)


def unread_variables() -> Iterator[str]:
    """A sentence about each ``ANYMODAL_…`` variable that nothing reads, with the nearest name."""
    names = {name for name in variables() if name.startswith("ANYMODAL_")} - READ_BY_NAME
    if not names:
        return
    from difflib import get_close_matches

    from workers.config import constant, variable_names

    readable = {*variable_names(), *READ_BY_NAME}
    for name in sorted(names - readable):
        if value := constant(name):
            yield f"The variable {name} is not a setting of anymodal. {value}"
            continue
        nearest = get_close_matches(name, sorted(readable), n=1, cutoff=0.75)
        hint = f"Did you mean {nearest[0]}?" if nearest else "See docs/settings.md."
        yield f"The variable {name} is not a setting of anymodal. {hint}"

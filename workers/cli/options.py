"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from workers.environment import Options, begin

F = TypeVar("F", bound=Callable[..., Any])


class PathOrUrl(click.Path):
    """An existing path, or a URL, which is checked when it is fetched."""

    def __init__(self) -> None:
        super().__init__(exists=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Accept URLs; those of object stores are normalised."""
        from ingest.errors import SourceError
        from ingest.sources.objects import is_object, local_path, normal
        from ingest.sources.urls import is_url

        if is_url(value):
            return value
        if not is_object(value):
            return super().convert(local_path(value), param, ctx)
        try:
            return normal(value)
        except SourceError as error:
            self.fail(str(error), param, ctx)


class KindsOption(click.Option):
    """An option whose help names what is registered: ``{kinds}``, or ``{formats}``."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """As in click; the kinds are only looked up when somebody asks for help."""
        from ingest.kinds.registry import formats, names

        option_text, help_text = super().get_help_record(ctx) or ("", "")
        listed_names = {"kinds": ", ".join(names()), "formats": ", ".join(formats())}
        return option_text, help_text.format(**listed_names)


def kind_option(help_text: str) -> Callable[[F], F]:
    """``--kind``, which may be repeated."""
    return click.option(
        "--kind",
        "kinds",
        cls=KindsOption,
        multiple=True,
        metavar="NAME",
        help=f"{help_text}. Repeatable. One of {{kinds}}.",
    )


def store_option(command: F) -> F:
    """``--store``."""
    return click.option(
        "--store",
        metavar="PATH|URL",
        help="The store: a folder (embedded) or http://host:19530. [default: your own embedded "
        "store, env ANYMODAL_STORE]",
    )(command)


def model_option(command: F) -> F:
    """``--model``."""
    return click.option(
        "--model",
        metavar="SPEC",
        help="The model: bundle:NAME, hf:org/name@revision or dir:path. "
        "[env ANYMODAL_ENCODER__MODEL]",
    )(command)


def broker_option(command: F) -> F:
    """``--broker``."""
    return click.option(
        "--broker",
        metavar="URL",
        help="The broker, such as redis://host:6379/0, to share the work with `anymodal worker`. "
        "[env ANYMODAL_BROKER]",
    )(command)


def json_option(command: F) -> F:
    """``--json``."""
    return click.option(
        "--json",
        "as_json",
        is_flag=True,
        help="Print JSON. The default if the output is not a terminal.",
    )(command)


def log_format_option(command: F) -> F:
    """``--log-format``."""
    return click.option(
        "--log-format",
        type=click.Choice(["text", "json"]),
        help="The format of the log, with one line per record. "
        "[default: text, env ANYMODAL_LOG_FORMAT]",
    )(command)


def log_level_option(default: str) -> Callable[[F], F]:
    """``--loglevel``."""
    levels = click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"], case_sensitive=False)
    return click.option(
        "--loglevel",
        type=levels,
        default=default,
        show_default=True,
        help="The lowest level of messages to log.",
    )


def apply_options(
    store: str | None = None,
    broker: str | None = None,
    model: str | None = None,
    **other_options: Any,
) -> None:
    """Begin a command with these options, and with others of `workers.environment.Options`.

    From here on, all files that this process and its children make are private to their user.
    """
    from encoder.system.private import keep_private

    keep_private()
    begin(Options(store=store, broker=broker, model=model, **other_options))

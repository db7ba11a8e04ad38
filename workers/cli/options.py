"""Options that several commands share."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import click

from encoder.system.environment import begin
from workers.cli.output import JSON

F = TypeVar("F", bound=Callable[..., Any])


class PathOrUrl(click.Path):
    """An existing path, made absolute, or a URL, which is checked when it is fetched."""

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
            # a worker may run in another folder; `Path.resolve` would follow links
            return os.path.abspath(super().convert(local_path(value), param, ctx))  # noqa: PTH100
        try:
            return normal(value)
        except SourceError as error:
            self.fail(str(error), param, ctx)


class KindsOption(click.Option):
    """An option whose help names what is registered: ``{kinds}``, or ``{formats}``."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        from ingest.kinds.registry import formats, names

        option_text, help_text = super().get_help_record(ctx) or ("", "")
        listed_names = {"kinds": ", ".join(names()), "formats": ", ".join(formats())}
        return option_text, help_text.format(**listed_names)


def kind_option(help_text: str) -> Callable[[F], F]:
    return click.option(
        "--kind",
        "kinds",
        cls=KindsOption,
        multiple=True,
        metavar="NAME",
        help=f"{help_text}. Repeatable. One of {{kinds}}.",
    )


def filter_options(whose: str, place: str = "--path") -> Callable[[F], F]:
    """Conditions on assets, as `workers.cli.query.conditions_of` takes them."""
    options = (
        click.option(
            "--filter",
            "conditions",
            multiple=True,
            metavar="JSON|FIELD=VALUE",
            help=f"{whose} assets that meet this condition. Repeatable.",
        ),
        click.option("--tag", "tags", multiple=True, help="Only assets with this tag."),
        click.option(place, "path", metavar="PATH|URL", help="Only assets at or below this path."),
    )

    def decorate(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_SETTINGS = {
    "store": click.option(
        "--store",
        metavar="PATH|URL",
        help="The store: a folder (embedded) or http://host:19530. [default: your own embedded "
        "store, env ANYMODAL_STORE]",
    ),
    "broker": click.option(
        "--broker",
        metavar="URL",
        help="The broker, such as redis://host:6379/0, to share the work with `anymodal worker`. "
        "[env ANYMODAL_BROKER]",
    ),
    "model": click.option(
        "--model",
        metavar="SPEC",
        help="The model: bundle:NAME, hf:org/name@revision, dir:path or remote:NAME@URL. "
        "[env ANYMODAL_ENCODER__MODEL]",
    ),
    "url_hosts": click.option(
        "--allow-url",
        "url_hosts",
        multiple=True,
        metavar="HOST",
        help="Allow URLs of this host (.example.org includes its subdomains). Repeatable.",
    ),
    "metrics_port": click.option(
        "--metrics-port",
        type=click.IntRange(1, 65535),
        help="Serve Prometheus metrics on this port. [env ANYMODAL_METRICS_PORT]",
    ),
    "metrics_host": click.option(
        "--metrics-host",
        metavar="ADDRESS",
        help="The address for that port. [default: 127.0.0.1, env ANYMODAL_METRICS_HOST]",
    ),
    "log_format": click.option(
        "--log-format",
        type=click.Choice(["text", "json"]),
        help="The format of the log, with one line per record. "
        "[default: text, env ANYMODAL_LOG_FORMAT]",
    ),
}


_VARIABLES = {"model": "ENCODER__MODEL", "url_hosts": "INGEST__URL_HOSTS"}
"""Of options whose setting has another name."""


def settings_options(*names: str) -> Callable[[F], F]:
    """Options that go before the settings' variables, with which the command begins.

    The command itself does not get them. All files that this process and its children make from
    then on are private to their user.
    """

    def decorate(command: F) -> F:
        @wraps(command)
        def begun(*context: Any, **arguments: Any) -> Any:
            from encoder.system.private import keep_private

            keep_private()
            chosen = {_VARIABLES.get(name, name): arguments.pop(name) for name in names}
            begin(
                {
                    f"ANYMODAL_{name.upper()}": json.dumps(value)
                    if isinstance(value, tuple)
                    else str(value)
                    for name, value in chosen.items()
                    if value not in (None, ())
                }
            )
            return command(*context, **arguments)

        for name in reversed(names):
            begun = _SETTINGS[name](begun)
        return cast(F, begun)

    return decorate


def json_option(command: F) -> F:
    """``--json``, which `workers.cli.output` reads."""
    return click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        callback=_note_json,
        help="Print JSON. The default if the output is not a terminal.",
    )(command)


def _note_json(ctx: click.Context, _option: click.Parameter, value: bool) -> None:
    ctx.meta[JSON] = value or ctx.meta.get(JSON, False)


def log_level_option(default: str) -> Callable[[F], F]:
    return click.option(
        "--loglevel",
        type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"], case_sensitive=False),
        default=default,
        show_default=True,
        help="The lowest level of messages to log.",
    )

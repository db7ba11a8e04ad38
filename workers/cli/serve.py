"""``anymodal serve``."""

from __future__ import annotations

import logging
import os
from functools import partial
from pathlib import Path
from threading import Timer

import click

from workers.cli.options import log_level_option, settings_options

logger = logging.getLogger(__name__)

_UNDER_WAY_S = 3.0
"""For files under way once all requests are answered; the next start reads the others again."""


@click.command()
@click.option("--host", help="The address to listen on. [env ANYMODAL_API__HOST, 127.0.0.1]")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    help="The port; 0 picks a free one. [env ANYMODAL_API__PORT, 8080]",
)
@click.option(
    "--allow-no-key",
    is_flag=True,
    help="Allow everyone who can reach the address without a key; by default, only this machine.",
)
@click.option(
    "--processes",
    type=click.IntRange(1),
    help="The most processes that answer queries to a store in a folder, each started while those "
    "before it are busy. [one for each core]",
)
@settings_options("store", "broker", "model", "log_format")
@log_level_option("WARNING")
def serve(
    host: str | None,
    port: int | None,
    allow_no_key: bool,
    processes: int | None,
    loglevel: str,
) -> None:
    """Serve the search API and its page until SIGTERM or Ctrl-C.

    Uploads are ingested by the workers of --broker, or by this process if none is given.
    """
    from encoder.errors import InputError
    from search.api.app import create_app
    from search.api.bounded_threads import usable_cores
    from search.api.server import serve as serve_app
    from workers.beside.server import own_sockets
    from workers.config import current_settings
    from workers.observe import logs
    from workers.serving.composition import following, services
    from workers.serving.resources import Resources

    settings = current_settings()
    logs.set_up(settings.log_format, loglevel, [settings.broker, settings.store or ""])
    address = {"host": host, "port": port, "allow_no_key": allow_no_key or None}
    config = settings.api.model_copy(update={k: v for k, v in address.items() if v is not None})
    resources = Resources(settings.model_copy(update={"api": config}))
    if new := _new_folder(settings.store):
        logger.warning("%s is a new, empty store", new)
    with services(resources, processes or usable_cores()) as parts:
        app = create_app(parts)
        put = partial(setattr, app.state, "services")
        try:
            with (
                following(resources, parts, put),
                own_sockets(settings.store) as sockets,
            ):
                announce = partial(_announce, settings.log_format)
                serve_app(app, config, parts.stopping, announce, sockets)
        except OSError as error:
            where = f"{config.host}:{config.port}"
            raise InputError(
                "--host, --port",
                got=f"{where} ({error.strerror})",
                wanted="a free address",
            ) from error
        leave_soon()


def _new_folder(store: str | None) -> Path | None:
    """The store's folder if this server is about to create it, so that a typo is noticed."""
    from search.errors import StoreMissingError
    from search.store.open import check_store, store_target

    target = None if store == "memory:" else store_target(store)
    try:
        if isinstance(target, Path):
            check_store(target)
    except StoreMissingError:
        return target if isinstance(target, Path) else None
    return None


def _announce(log_format: str, address: str) -> None:
    """Print it, whatever the log level."""
    if log_format == "json":
        logger.setLevel(logging.INFO)
        logger.info("Listening at %s", address)
    else:
        click.echo(f"Listening at {address}", err=True)


def leave_soon() -> None:
    """End the process in time: ingesting a film may take long, and the next start continues it."""
    timer = Timer(_UNDER_WAY_S, os._exit, [0])
    timer.daemon = True
    timer.start()

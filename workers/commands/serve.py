"""``anymodal serve``."""

from __future__ import annotations

import click

from workers.commands.options import apply_options, broker_option, model_option, store_option


@click.command()
@click.option("--host", help="The address to listen at. [env ANYMODAL_API__HOST, 127.0.0.1]")
@click.option(
    "--port", type=click.IntRange(0, 65_535), help="The port. [env ANYMODAL_API__PORT, 8080]"
)
@click.option(
    "--allow-no-key",
    is_flag=True,
    help="Let all ask who reach the address; by default only this machine may without a key.",
)
@store_option
@broker_option
@model_option
def serve(
    host: str | None,
    port: int | None,
    allow_no_key: bool,
    store: str | None,
    broker: str | None,
    model: str | None,
) -> None:
    """Serve the search API and its page until SIGTERM or Ctrl-C."""
    apply_options(store, broker, model)
    from search.api.app import create_app
    from search.api.config import ApiConfig
    from search.api.serving import serve as serve_app
    from workers.serve import services

    given = {"host": host, "port": port, "allow_no_key": allow_no_key or None}
    config = ApiConfig().model_copy(update={k: v for k, v in given.items() if v is not None})
    with services(config) as parts:
        click.echo(f"Listening at http://{config.host}:{config.port}", err=True)
        serve_app(create_app(parts), config)

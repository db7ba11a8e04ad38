"""``anymodal info``."""

from __future__ import annotations

import click

from workers.cli.delete import absolute
from workers.cli.options import apply_options, json_option, model_option, store_option


@click.command()
@click.argument("target", metavar="ASSET|PATH|URL")
@store_option
@model_option
@json_option
def info(target: str, store: str | None, model: str | None, as_json: bool) -> None:
    """Show what is stored about an asset: its locations, metadata and segments."""
    apply_options(store, model=model)
    from workers.cli.library_tables import info_lines
    from workers.cli.reading_store import answer, show

    show(answer("info", {"target": absolute(target)}), info_lines, as_json)

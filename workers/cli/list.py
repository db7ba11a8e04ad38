"""``anymodal list``."""

from __future__ import annotations

from typing import Any

import click

from workers.cli.options import apply_options, json_option, model_option, store_option


@click.command(name="list")
@click.option(
    "--modality",
    metavar="LIST",
    default="",
    help="Modalities to list, such as image,audio. [default: all]",
)
@click.option(
    "--filter",
    "conditions",
    multiple=True,
    metavar="JSON|FIELD=VALUE",
    help="Only assets that meet this condition. Repeatable.",
)
@click.option("--tag", "tags", multiple=True, help="Only assets with this tag.")
@click.option("--path", help="Only assets at or below this path.")
@click.option(
    "--limit",
    default=50,
    show_default=True,
    type=click.IntRange(1, 10_000),
    help="The most assets on a page.",
)
@click.option(
    "--page", metavar="ID", default="", help="Continue from the id that ended another page."
)
@store_option
@model_option
@json_option
def list(store: str | None, model: str | None, as_json: bool, **asked: Any) -> None:
    """List stored assets page by page, in the order of their ids."""
    apply_options(store, model=model)
    from ingest.sources.objects import whole_path
    from workers.cli.library_tables import list_lines
    from workers.cli.reading_store import answer, show

    path = asked["path"] and whole_path(asked["path"])
    show(answer("list", {**asked, "path": path}), list_lines, as_json)

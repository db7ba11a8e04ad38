"""``anymodal check``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from workers.cli.options import apply_options, json_option, model_option, store_option

if TYPE_CHECKING:
    from rich.console import RenderableType


@click.command()
@click.option("--repair", is_flag=True, help="Mend what can be mended, and say what cannot.")
@store_option
@model_option
@json_option
def check(repair: bool, store: str | None, model: str | None, as_json: bool) -> None:
    """Check that all that is stored fits together; stop what writes to the store first.

    Compares commit rows, segments, locations, words and uploads, and in a folder the index with
    the record. Exits with 0 if nothing is wrong, 1 if something is (after --repair: still is, or
    was given up), 2 if the store cannot be checked.
    """
    from encoder.errors import AnymodalError

    apply_options(store, model=model)
    try:
        answer = _checked(repair)
    except AnymodalError as error:
        click.echo(f"Error: {error}", err=True)
        raise SystemExit(2) from None
    from workers.cli.reading_store import show

    show(answer, _lines, as_json)
    if answer.get("left", answer["differences"]) or answer["lost"]:
        raise SystemExit(1)


def _checked(repair: bool) -> dict[str, Any]:
    from workers.config import current_settings
    from workers.cli.output import progress_bar
    from workers.library.check import checked
    from workers.serving.resources import Resources

    with closing(Resources(current_settings())) as held, progress_bar("rows") as bar:
        task = bar.add_task("Checking", total=None, note="")
        return checked(
            held.existing_store(),
            held.uploads,
            lambda n, total: bar.update(task, completed=n, total=max(n, total)),
            repair=repair,
        )


def _lines(answer: Mapping[str, Any]) -> Iterator[RenderableType]:
    from rich.table import Table

    from workers.cli.output import marked

    yield f"{answer['assets']} assets with {answer['segments']} rows of segments"
    for name in ("differences", "left"):
        table = Table("number", "what", "for example", "repair", title=name, title_justify="left")
        for one in answer.get(name, ()):
            asset_id, place = next(iter(one["examples"].items()))
            table.add_row(str(one["n"]), one["meaning"], marked(place or asset_id), one["repair"])
        if table.row_count:
            yield table
    if not answer.get("left", answer["differences"]):
        yield "[green]Nothing is wrong.[/]"
    for asset_id, place in answer["lost"].items():
        yield marked(f"given up: {asset_id} {place}")

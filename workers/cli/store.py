"""``anymodal store``: export, import, upgrade and check a store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workers.cli.options import apply_options, json_option, model_option, store_option

if TYPE_CHECKING:
    from rich.console import RenderableType


@click.command("export")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@store_option
@model_option
@json_option
def export_store(folder: Path, store: str | None, model: str | None, as_json: bool) -> None:
    """Write what is stored to Parquet files: ids, metadata, texts and vectors.

    The files themselves are not copied. After an interruption, run the same command to continue.
    """
    apply_options(store, model=model)
    from workers.cli.output import console, print_json, progress_bar, wants_json
    from workers.config import current_settings
    from workers.library.portable import Manifest
    from workers.library.portable import export_store as export
    from workers.serving.resources import Resources

    with closing(Resources(current_settings())) as resources, progress_bar("assets") as bar:
        task = bar.add_task("Exporting", total=None, note="")
        encoder, vector_store = resources.encoder(), resources.existing_store()
        manifest = Manifest(encoder.model, encoder.space.fingerprint, encoder.space.embed_dim)
        done = export(
            vector_store,
            folder,
            manifest,
            lambda n, total: bar.update(task, completed=n, total=total),
        )
    n_assets = sum(table_part.n_assets for table_part in done.parts)
    n_segments = sum(table_part.n_segments for table_part in done.parts)
    if wants_json(as_json):
        print_json({"assets": n_assets, "vectors": n_segments})
        return
    console().print(f"Exported {n_assets} assets with {n_segments} vectors to {folder}")


@click.command("import")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@store_option
@json_option
def import_store(folder: Path, store: str | None, as_json: bool) -> None:
    """Add what `anymodal store export` wrote to a store, without encoding anything.

    Every file is checked first. Assets that are already stored are skipped; after an interruption,
    run the same command to continue.
    """
    from workers.library.portable import import_store as load
    from workers.library.portable import open_export

    manifest = open_export(folder)
    apply_options(store, model=manifest.model)
    from workers.cli.output import console, print_json, progress_bar, wants_json
    from workers.config import current_settings
    from workers.serving.resources import Resources

    with closing(Resources(current_settings())) as resources, progress_bar("assets") as bar:
        manifest.check_space(resources.encoder().space.fingerprint)
        task = bar.add_task("Importing", total=None, note="")
        n_written = load(
            resources.store(),
            folder,
            manifest,
            lambda n, total: bar.update(task, completed=n, total=total),
        )
    if wants_json(as_json):
        print_json({"added": n_written})
        return
    console().print(f"Added {n_written} assets from {folder}")


@click.command()
@store_option
@model_option
@json_option
def upgrade(store: str | None, model: str | None, as_json: bool) -> None:
    """Upgrade a store of schema 6 to schema 7, without encoding anything.

    Stop everything that writes first; searches continue. An interrupted upgrade is completed.
    Restart servers and workers afterwards.
    """
    apply_options(store, model=model)
    from workers.cli.output import console, print_json, progress_bar, wants_json
    from workers.config import current_settings
    from workers.serving.resources import Resources

    with closing(Resources(current_settings())) as resources, progress_bar("rows") as bar:
        task = bar.add_task("Upgrading", total=None, note="")

        def progress(n_done: int, n_rows: int) -> None:
            bar.update(task, completed=n_done, total=n_rows)

        n_rows = resources.existing_store().upgrade(progress)
    if wants_json(as_json):
        print_json({"rows": n_rows})
    else:
        done = f"{n_rows} rows upgraded" if n_rows else "The store is up to date"
        console().print(f"{done}.")


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
    from workers.cli.library import show

    show(answer, _lines, as_json)
    if answer.get("left", answer["differences"]) or answer["lost"]:
        raise SystemExit(1)


def _checked(repair: bool) -> dict[str, Any]:
    from workers.cli.output import progress_bar
    from workers.config import current_settings
    from workers.library.check import checked
    from workers.serving.resources import Resources

    with closing(Resources(current_settings())) as resources, progress_bar("rows") as bar:
        task = bar.add_task("Checking", total=None, note="")
        return checked(
            resources.existing_store(),
            resources.uploads,
            lambda n, total: bar.update(task, completed=n, total=max(n, total)),
            repair=repair,
        )


def _lines(answer: Mapping[str, Any]) -> Iterator[RenderableType]:
    from rich.table import Table

    from workers.cli.output import marked

    yield f"{answer['assets']} assets with {answer['segments']} rows of segments"
    for name in ("differences", "left"):
        table = Table("number", "what", "for example", "repair", title=name, title_justify="left")
        for difference in answer.get(name, ()):
            asset_id, location = next(iter(difference["examples"].items()))
            table.add_row(
                str(difference["n"]),
                difference["meaning"],
                marked(location or asset_id),
                difference["repair"],
            )
        if table.row_count:
            yield table
    if not answer.get("left", answer["differences"]):
        yield "[green]Nothing is wrong.[/]"
    for asset_id, location in answer["lost"].items():
        yield marked(f"given up: {asset_id} {location}")

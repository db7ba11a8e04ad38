"""``anymodal upgrade``."""

from __future__ import annotations

from contextlib import closing

import click

from workers.cli.options import apply_options, json_option, model_option, store_option


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
    from workers.config import current_settings
    from workers.cli.output import console, print_json, progress_bar, wants_json
    from workers.serving.resources import Resources

    with closing(Resources(current_settings())) as held, progress_bar("rows") as bar:
        task = bar.add_task("Upgrading", total=None, note="")

        def progress(n_done: int, n_rows: int) -> None:
            bar.update(task, completed=n_done, total=n_rows)

        n_rows = held.existing_store().upgrade(progress)
    if wants_json(as_json):
        print_json({"rows": n_rows})
    else:
        done = f"{n_rows} rows upgraded" if n_rows else "The store is up to date"
        console().print(f"{done}.")

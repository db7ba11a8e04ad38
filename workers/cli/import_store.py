"""``anymodal import-store``."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click

from workers.cli.options import apply_options, json_option, store_option


@click.command("import-store")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@store_option
@json_option
def import_store(folder: Path, store: str | None, as_json: bool) -> None:
    """Add what `anymodal export-store` wrote to a store, without encoding anything.

    Every file is checked first. Assets that are already stored are skipped; after an interruption,
    run the same command to continue.
    """
    from workers.portable.load import import_store as load
    from workers.portable.load import open_export

    manifest = open_export(folder)
    apply_options(store, model=manifest.model)
    from workers.config import current_settings
    from workers.cli.output import console, print_json, progress_bar, wants_json
    from workers.serving.resources import Resources

    with closing(Resources(current_settings())) as held, progress_bar("assets") as bar:
        manifest.check_space(held.encoder().space.fingerprint)
        task = bar.add_task("Importing", total=None, note="")
        n_written = load(
            held.store(),
            folder,
            manifest,
            lambda n, total: bar.update(task, completed=n, total=total),
        )
    if wants_json(as_json):
        print_json({"added": n_written})
        return
    console().print(f"Added {n_written} assets from {folder}")

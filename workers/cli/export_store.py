"""``anymodal export-store``."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click

from workers.cli.options import apply_options, json_option, model_option, store_option


@click.command("export-store")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@store_option
@model_option
@json_option
def export_store(folder: Path, store: str | None, model: str | None, as_json: bool) -> None:
    """Write what is stored to Parquet files: ids, metadata, texts and vectors.

    The files themselves are not copied. After an interruption, run the same command to continue.
    """
    apply_options(store, model=model)
    from workers.config import current_settings
    from workers.cli.output import console, print_json, progress_bar, wants_json
    from workers.portable.export import export_store as export
    from workers.portable.manifest import Manifest
    from workers.serving.resources import Resources

    with closing(Resources(current_settings())) as held, progress_bar("assets") as bar:
        task = bar.add_task("Exporting", total=None, note="")
        encoder, found = held.encoder(), held.existing_store()
        about = Manifest(encoder.model, encoder.space.fingerprint, encoder.space.embed_dim)
        done = export(
            found, folder, about, lambda n, total: bar.update(task, completed=n, total=total)
        )
    n_assets = sum(part.n_assets for part in done.parts)
    n_segments = sum(part.n_segments for part in done.parts)
    if wants_json(as_json):
        print_json({"assets": n_assets, "vectors": n_segments})
        return
    console().print(f"Exported {n_assets} assets with {n_segments} vectors to {folder}")

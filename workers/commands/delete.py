"""``anymodal delete``."""

from __future__ import annotations

import click

from workers.commands.options import apply_options, json_option, model_option, store_option


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="PATH|ASSET...")
@store_option
@model_option
@json_option
def delete(targets: tuple[str, ...], store: str | None, model: str | None, as_json: bool) -> None:
    """Remove files, whole folders (also those gone from the disk) or asset ids from the store.

    The files themselves stay, but for those that were uploaded to this store. An asset that lies
    at other places too is kept for those.
    """
    apply_options(store, model=model)
    from workers import resources
    from workers.data_folder import shared_uploads
    from workers.output import print_json, wants_json
    from workers.removal import remove

    try:
        held, uploads = resources.existing_store(), shared_uploads()
        removed = {target: remove(held, target, uploads) for target in targets}
    finally:
        resources.close()
    if wants_json(as_json):
        print_json({"removed": removed})
    else:
        for target, n_assets in removed.items():
            click.echo(f"{target}: {n_assets} removed" if n_assets else f"{target}: not stored")
    if not any(removed.values()):
        raise SystemExit(1)

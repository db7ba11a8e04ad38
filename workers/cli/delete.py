"""``anymodal delete``."""

from __future__ import annotations

import os
import re
from contextlib import closing

import click

from workers.cli.options import (
    apply_options,
    json_option,
    kind_option,
    model_option,
    store_option,
)

_ID = re.compile(r"[0-9a-f]{32,}")


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="PATH|URL|ASSET...")
@kind_option("Only files of this kind")
@store_option
@model_option
@json_option
def delete(
    targets: tuple[str, ...],
    kinds: tuple[str, ...],
    store: str | None,
    model: str | None,
    as_json: bool,
) -> None:
    """Remove files, whole folders (even if gone from the disk) or assets by id from the store.

    The files themselves stay, except uploads to this store. An asset that has other locations is
    kept there. What is not stored, or no longer, is said and is no error, so that a deletion can be
    repeated.
    """
    apply_options(store, model=model)
    from workers.cli.output import print_json, wants_json

    removed = _removed(targets, kinds)
    if wants_json(as_json):
        print_json({"removed": removed})
    else:
        for target, n_assets in removed.items():
            click.echo(f"{target}: {n_assets} removed" if n_assets else f"{target}: not stored")


def _removed(targets: tuple[str, ...], kinds: tuple[str, ...]) -> dict[str, int]:
    """The number of assets by target; a server of this user that holds the store does the work."""
    from workers.serving.command_query import media_types_of
    from workers.serving.beside.client import ask

    here, media_types = [absolute(target) for target in targets], media_types_of(kinds)
    if answers := ask("delete", {"targets": here, "media_types": media_types}):
        return dict(zip(targets, (answer["removed"] for answer in answers), strict=True))
    from workers.config import current_settings
    from workers.pipeline.library.removal import remove
    from workers.serving.resources import Resources

    with closing(Resources(current_settings())) as held:
        stored = held.existing_store()
        return {
            target: remove(stored, place, held.uploads, media_types)
            for target, place in zip(targets, here, strict=True)
        }


def absolute(target: str) -> str:
    """An asset's id as it is; a path, which may be gone, as an absolute one, or a URL."""
    if _ID.fullmatch(target) and not os.path.lexists(target):
        return target
    from ingest.sources.objects import whole_path

    return whole_path(target)

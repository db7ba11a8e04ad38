"""``anymodal list``, ``info``, ``delete`` and ``store stats``: what is stored; without a model."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import click

from workers.cli.options import filter_options, json_option, kind_option, settings_options
from workers.cli.output import marked, show, size, table
from workers.cli.running import opened

if TYPE_CHECKING:
    from rich.console import RenderableType

_ID = re.compile(r"[0-9a-f]{32,}")


@click.command(name="list")
@click.option(
    "--modality",
    metavar="LIST",
    default="",
    help="Modalities to list, such as image,audio. [default: all]",
)
@filter_options("Only")
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
@settings_options("store", "model")
@json_option
def list_assets(**options: Any) -> None:
    """List stored assets page by page, in the order of their ids."""
    from workers.cli.listing import listed

    with opened() as resources:
        page = listed(options, resources.recorded_store())
    show(page, list_lines)


@click.command()
@click.argument("target", metavar="ASSET|PATH|URL")
@settings_options("store", "model")
@json_option
def info(target: str) -> None:
    """Show what is stored about an asset: its locations, metadata and segments."""
    from workers.cli.listing import described

    with opened() as resources:
        facts = described(resources.recorded_store(), absolute(target))
    show(facts, info_lines)


@click.command()
@settings_options("store", "model")
@json_option
def stats() -> None:
    """Count what is stored: kinds, sizes, languages, years. Reads every asset's row."""
    from workers.cli.listing import counted

    with opened() as resources:
        totals = counted(resources.recorded_store())
    show(totals, stats_lines)


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="PATH|URL|ASSET...")
@kind_option("Only files of this kind")
@click.option("--yes", is_flag=True, help="Do not ask, as a terminal does for several assets.")
@settings_options("store", "model")
@json_option
def delete(targets: tuple[str, ...], kinds: tuple[str, ...], yes: bool) -> None:
    """Remove files, whole folders (even if gone from the disk) or assets by id from the store.

    The files themselves stay, except uploads to this store. An asset that has other locations is
    kept there. What is not stored, or no longer, is said and is no error, so that a deletion can be
    repeated.
    """
    from workers.cli.query import media_types_of
    from workers.pipeline.commit_rows import remove, rows_at

    media_types = media_types_of(kinds)
    with opened() as resources:
        store, uploads = resources.recorded_store(), resources.uploads
        if not yes and sys.stdin.isatty() and sys.stderr.isatty():
            rows = (row for t in targets for row in rows_at(store, absolute(t), media_types))
            n_assets = len({row.asset_id for row in rows})
            if n_assets > 1:
                click.confirm(f"Remove {n_assets} assets from the store?", abort=True, err=True)
        removed = {
            target: remove(store, absolute(target), uploads, media_types) for target in targets
        }
    lines = [
        marked(f"{target}: {n_assets} removed" if n_assets else f"{target}: not stored")
        for target, n_assets in removed.items()
    ]
    show({"removed": removed}, lambda _: lines)


def absolute(target: str) -> str:
    """An asset's id as it is; a path, which may be gone, as an absolute one, or a URL."""
    if _ID.fullmatch(target) and not os.path.lexists(target):
        return target
    from ingest.sources.objects import whole_path

    return whole_path(target)


def list_lines(page: Mapping[str, Any]) -> Iterator[RenderableType]:
    from rich.text import Text

    from workers.cli.listing import day

    yield from (f"[yellow]{marked(warning)}[/]" for warning in page["warnings"])
    if not page["assets"]:
        yield "No stored assets match."
        return
    rows = []
    for asset in page["assets"]:
        changed = asset["metadata"].get("modified")
        rows.append(
            (
                asset["modality"],
                size(asset["size_bytes"]),
                asset["n_segments"],
                day(changed) if isinstance(changed, int | float) else None,
                asset["asset_id"][:12],
                Text(asset["uri"]).append(" gone", "yellow") if asset["gone"] else asset["uri"],
            )
        )
    headings = ("kind", "size", "segments", "changed", "asset", "file")
    yield table(headings, rows, n_left=len(headings))
    if page["next_page"]:
        yield f"[dim]More: --page {marked(page['next_page'])}[/]"


def stats_lines(totals: Mapping[str, Any]) -> Iterator[RenderableType]:
    yield (
        f"[bold]{totals['assets']}[/] assets, {size(totals['bytes'])}, in "
        f"{totals['places']} locations"
        + (f", {totals['gone']} of them gone" if totals["gone"] else "")
    )
    rows = [
        (modality, of_kind["assets"], size(of_kind["bytes"]), of_kind["segments"])
        for modality, of_kind in totals["kinds"].items()
    ]
    yield table(("kind", "assets", "size", "segments"), rows)
    for name in ("languages", "years", "media_types"):
        if totals[name]:
            counts = ", ".join(f"{marked(key)} {n}" for key, n in totals[name].items())
            yield f"{name.replace('_', ' ')}: {counts}"
    if totals["oldest"]:
        yield f"from {totals['oldest']} to {totals['newest']}"


def info_lines(asset: Mapping[str, Any]) -> Iterator[RenderableType]:
    name = PurePath(asset["uri"]).name or asset["asset_id"]
    yield f"[bold]{marked(name)}[/] {marked(asset['asset_id'])}"
    yield f"{asset['modality']}, {marked(asset['media_type'])}, {size(asset['size_bytes'])}"
    for uri in asset["locations"]:
        yield f"  {marked(uri)}" + (" [yellow]gone[/]" if asset["gone"] else "")
    for key, value in asset["metadata"].items():
        yield f"{marked(key)}: {marked(str(value))}"
    yield f"{len(asset['segments'])} segments:"
    for segment in asset["segments"]:
        modality, index = segment.pop("modality"), segment.pop("index")
        facts = ", ".join(f"{key} {marked(str(value))}" for key, value in segment.items())
        yield f"  {modality} {index}: {facts}"

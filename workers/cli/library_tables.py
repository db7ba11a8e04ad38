"""What is stored, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from workers.library.listing import day, size
from workers.cli.output import marked

if TYPE_CHECKING:
    from rich.console import RenderableType


def list_lines(found: Mapping[str, Any]) -> Iterator[RenderableType]:
    """A page of assets."""
    from rich.table import Table

    if not found["assets"]:
        yield "No stored assets match."
        return
    table = Table(expand=True)
    for heading in ("kind", "size", "segments", "changed", "asset"):
        table.add_column(heading, no_wrap=True, justify="right" if heading == "size" else "left")
    table.add_column("file", ratio=1, overflow="fold")
    for one in found["assets"]:
        changed = one["metadata"].get("modified")
        table.add_row(
            one["modality"],
            size(one["size_bytes"]),
            str(one["n_segments"]),
            day(changed) if isinstance(changed, int | float) else "",
            marked(one["asset_id"][:12]),
            marked(one["uri"]) + (" [yellow]gone[/]" if one["gone"] else ""),
        )
    yield table
    if found["next_page"]:
        yield f"[dim]More: --page {marked(found['next_page'])}[/]"


def stats_lines(found: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Counts and sizes."""
    from rich.table import Table

    yield (
        f"[bold]{found['assets']}[/] assets, {size(found['bytes'])}, in {found['places']} locations"
        + (f", {found['gone']} of them gone" if found["gone"] else "")
    )
    table = Table()
    for heading in ("kind", "assets", "size", "segments"):
        table.add_column(heading, justify="left" if heading == "kind" else "right")
    for kind, one in found["kinds"].items():
        table.add_row(kind, str(one["assets"]), size(one["bytes"]), str(one["segments"]))
    yield table
    for name in ("languages", "years", "media_types"):
        if found[name]:
            counts = ", ".join(f"{marked(key)} {n}" for key, n in found[name].items())
            yield f"{name.replace('_', ' ')}: {counts}"
    if found["oldest"]:
        yield f"from {found['oldest']} to {found['newest']}"


def info_lines(found: Mapping[str, Any]) -> Iterator[RenderableType]:
    """One asset."""
    name = PurePath(found["uri"]).name or found["asset_id"]
    yield f"[bold]{marked(name)}[/] {marked(found['asset_id'])}"
    yield f"{found['modality']}, {marked(found['media_type'])}, {size(found['size_bytes'])}"
    for uri in found["locations"]:
        yield f"  {marked(uri)}" + (" [yellow]gone[/]" if found["gone"] else "")
    for key, value in found["metadata"].items():
        yield f"{marked(key)}: {marked(str(value))}"
    yield f"{len(found['segments'])} segments:"
    for one in found["segments"]:
        shown = {key: value for key, value in one.items() if key not in ("modality", "index")}
        facts = ", ".join(f"{key} {marked(str(value))}" for key, value in shown.items())
        yield f"  {one['modality']} {one['index']}: {facts}"

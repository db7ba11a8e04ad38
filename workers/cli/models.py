"""``anymodal models list``, ``prepare``, ``show``, ``verify``, ``remove`` and ``prune``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from workers.cli.options import json_option

if TYPE_CHECKING:
    from encoder.models.artifacts import Artifact, Progress
    from encoder.models.spec import ModelSpec


@click.command("list")
@json_option
def list_models(as_json: bool) -> None:
    """List prepared models."""
    from encoder.models.catalogue import all_models
    from workers.cli.output import print_json, wants_json

    summaries = [_summary(artifact) for artifact in all_models()]
    if wants_json(as_json):
        print_json({"models": summaries})
    elif summaries:
        _print_table(summaries)
    else:
        click.echo(
            "No models yet; `anymodal models prepare bundle:default` fetches the offline model."
        )


@click.command()
@click.argument("spec")
@click.option(
    "--precision",
    default="int8",
    show_default=True,
    help="float32, bf16, int8 or int4; a bundle comes in its own.",
)
@json_option
def prepare(spec: str, precision: str, as_json: bool) -> None:
    """Make SPEC (bundle:NAME, hf:org/name@revision or dir:path) ready to run.

    An existing one is kept. Ctrl-C leaves nothing behind.
    """
    from encoder.models.spec import ModelSpec

    parsed = ModelSpec.parse(spec)
    _print(_fetched(parsed) if parsed.kind == "bundle" else _prepared(parsed, precision), as_json)


@click.command()
@click.argument("name")
@click.option("--precision", help="The precision, if there are several.")
@json_option
def show(name: str, precision: str | None, as_json: bool) -> None:
    """Show the sources, inputs and measurements of NAME (a spec, a folder or its hash)."""
    from encoder.models.catalogue import find_model

    _print(find_model(name, precision), as_json)


@click.command()
@click.argument("name")
@click.option("--precision", help="The precision, if there are several.")
def verify(name: str, precision: str | None) -> None:
    """Check the hash of every file of NAME."""
    from encoder.models.artifacts import verify as verify_artifact
    from encoder.models.catalogue import find_model

    artifact = find_model(name, precision)
    verify_artifact(artifact)
    click.echo(
        f"The hashes of all {len(artifact.manifest['files'])} files match in {artifact.folder}"
    )


@click.command()
@click.argument("name")
@click.option("--precision", help="The precision, if there are several.")
def remove(name: str, precision: str | None) -> None:
    """Remove NAME from this machine; refused while a process has it open."""
    from encoder.models.artifacts import remove as remove_artifact
    from encoder.models.catalogue import find_model

    artifact = find_model(name, precision)
    remove_artifact(artifact)
    click.echo(f"Removed {artifact.folder}, {artifact.size_bytes / 1e6:.1f} MB")


@click.command()
@click.option(
    "--unused-days",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    help="Keep what was opened since.",
)
@click.option("--max-gb", type=click.FloatRange(min=0), help="How much may stay at most.")
@json_option
def prune(unused_days: float, max_gb: float | None, as_json: bool) -> None:
    """Remove copies of networks, vocabularies and trials: they are made again when needed.

    Bundles, prepared models and gates stay.
    """
    from encoder.system.cache import prune_cache
    from workers.cli.output import print_json, wants_json

    most_bytes = None if max_gb is None else round(max_gb * 1e9)
    removed = prune_cache(unused_days * 86400, most_bytes)
    freed_bytes = sum(entry.size_bytes for entry in removed)
    if wants_json(as_json):
        print_json({"removed": [str(entry.path) for entry in removed], "bytes": freed_bytes})
    else:
        click.echo(f"Removed {len(removed)} entries of the cache, {freed_bytes / 1e6:.1f} MB")


def _fetched(spec: ModelSpec) -> Artifact:
    from encoder.models.bundle.declaration import read_bundle
    from encoder.models.catalogue import find_model
    from workers.cli.bundle import fetch_all

    fetch_all(read_bundle(spec.name))
    return find_model(str(spec))


def _prepared(spec: ModelSpec, precision: str) -> Artifact:
    from encoder.prepare.prepared import prepare as prepare_model

    with _shown(str(spec)) as progress:
        return prepare_model(spec, precision, progress)


@contextmanager
def _shown(name: str) -> Iterator[Progress]:
    """A progress bar on a terminal, else a line for each stage."""
    if not sys.stderr.isatty():
        yield _print_stage
        return
    from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    from workers.cli.output import console, marked

    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Bars(*columns, console=console(stderr=True)) as bars:
        task = bars.add_task(marked(name), total=1.0)

        def show(stage: str, share: float) -> None:
            bars.update(task, completed=share, description=marked(f"{name}: {stage}"))

        yield show


def _print_stage(stage: str, share: float) -> None:
    click.echo(f"{100 * share:3.0f} %  {stage}", err=True)


def _summary(artifact: Artifact) -> dict[str, Any]:
    manifest = artifact.manifest
    return {
        "spec": manifest["spec"],
        "precision": manifest["key"]["precision"],
        "modalities": list(manifest["modalities"]),
        "embed_dim": manifest["space"]["embed_dim"],
        "size_bytes": artifact.size_bytes,
        "made_at": manifest["made_at"],
        "folder": str(artifact.folder),
    }


def _print_table(summaries: list[dict[str, Any]]) -> None:
    from rich.table import Table

    from workers.cli.output import console, marked

    table = Table()
    for heading in ("model", "precision", "takes", "dim", "MB", "made", "folder"):
        table.add_column(heading, overflow="fold")
    for summary in summaries:
        cells = (
            summary["spec"],
            summary["precision"],
            ", ".join(summary["modalities"]),
            str(summary["embed_dim"]),
            f"{summary['size_bytes'] / 1e6:.1f}",
            summary["made_at"][:10],
            summary["folder"].rpartition("/")[2],
        )
        table.add_row(*map(marked, cells))
    console().print(table)


def _print(artifact: Artifact, as_json: bool) -> None:
    from workers.cli.output import print_json, wants_json

    facts = {
        **artifact.manifest,
        "folder": str(artifact.folder),
        "size_bytes": artifact.size_bytes,
    }
    if wants_json(as_json):
        print_json(facts)
    else:
        _print_facts(facts)


def _print_facts(facts: Mapping[str, Any]) -> None:
    """One line for each fact; the files as a count."""
    from rich.table import Table

    from workers.cli.output import console, marked

    table = Table(show_header=False, box=None)
    for name, value in {**facts, "files": len(facts["files"])}.items():
        for fact, text in _lines(name, value):
            table.add_row(marked(fact.replace("_", " ")), marked(text))
    console().print(table)


def _lines(name: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _lines(f"{name} {key}", inner)
    elif isinstance(value, list):
        yield from _lines(name, ", ".join(map(str, value)))
    elif value not in (None, ""):
        yield name, str(round(value, 4) if isinstance(value, float) else value)

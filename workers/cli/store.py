"""``anymodal store``: back up, restore, calibrate, check, export, import and reindex a store."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import RenderableType

from encoder.system.environment import begin, options
from workers.cli.options import json_option, settings_options
from workers.cli.output import marked, progress, show, table
from workers.cli.running import opened

if TYPE_CHECKING:
    from workers.library.portable import Imported


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@settings_options("store", "model")
@json_option
def backup(folder: Path) -> None:
    """Copy a store in a folder to a new or empty FOLDER, which is a store like it.

    Searches go on, and those who write wait until it is done. Files and uploads stay where they
    are. `anymodal store restore` puts it back.
    """
    from workers.library.backup import back_up, folder_of

    with opened() as resources:
        source = folder_of(resources.settings.store)
        n_assets = back_up(source, resources.recorded_store(), folder)
    summary = f"Copied {n_assets} assets to {marked(str(folder))}"
    show({"assets": n_assets, "folder": str(folder)}, lambda _: [summary])


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@settings_options("store")
@json_option
def restore(folder: Path) -> None:
    """Replace a store in a folder by a copy of FOLDER, which `anymodal store backup` made.

    The copy is made beside the store and checked; if the disk is full or FOLDER is damaged, the
    store stays as it was. Start servers and workers again afterwards.
    """
    from workers.config import current_settings
    from workers.library.backup import folder_of
    from workers.library.backup import restore as put_back

    with progress("Checking", "rows") as bar:
        n_assets = put_back(folder, folder_of(current_settings().store), bar)
    summary = f"Restored {n_assets} assets from {marked(str(folder))}"
    show({"assets": n_assets, "folder": str(folder)}, lambda _: [summary])


@click.command("export")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@settings_options("store", "model")
@json_option
def export_store(folder: Path) -> None:
    """Write what is stored to Parquet files: ids, metadata, texts and vectors.

    The files themselves are not copied. After an interruption, run the same command to continue.
    """
    from encoder.system.extras import require

    require("`anymodal store export`", "pyarrow")
    from workers.library.portable import Manifest
    from workers.library.portable import export_store as export

    with opened() as resources, progress("Exporting", "assets") as bar:
        vector_store = resources.existing_store()
        done = export(vector_store, folder, Manifest.of(resources.encoder()), bar)
    n_assets = sum(part.n_assets for part in done.parts)
    n_vectors = sum(part.n_segments for part in done.parts)
    summary = f"Exported {n_assets} assets with {n_vectors} vectors to {marked(str(folder))}"
    show({"assets": n_assets, "vectors": n_vectors}, lambda _: [summary])


@click.command("import")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@settings_options("store")
@json_option
def import_store(folder: Path) -> None:
    """Add what `anymodal store export` wrote to a store, without encoding anything.

    Every file is checked first. What is stored already stays as it is, and gets the places, tags
    and other facts that it lacks. After an interruption, run the same command to continue.
    """
    from encoder.system.extras import require

    require("`anymodal store import`", "pyarrow")
    from workers.library.portable import Manifest, open_export
    from workers.library.portable import import_store as load
    from workers.pipeline.calibration import alone_here, calibrate_if_due

    manifest = open_export(folder)
    begin({**options(), "ANYMODAL_ENCODER__MODEL": manifest.model})

    with opened() as resources, progress("Importing", "assets") as bar:
        encoder, vector_store = resources.encoder(), resources.store()
        manifest.check_space(Manifest.of(encoder))
        imported = load(vector_store, folder, manifest, bar)
        calibrate_if_due(encoder, vector_store, alone_here)
    facts = {"added": imported.n_added, "completed": imported.n_completed, "kept": imported.kept}
    show(facts, lambda _: _import_lines(imported, folder))


def _import_lines(imported: Imported, folder: Path) -> Iterator[str]:
    yield (
        f"Added {imported.n_added} assets from {marked(str(folder))}, and completed "
        f"{imported.n_completed}"
    )
    if uris := imported.kept:
        example = marked(next(iter(uris.values())))
        yield f"[yellow]Of {len(uris)} the store says something else, and keeps it[/]: {example}"


@click.command()
@click.option("--repair", is_flag=True, help="Mend what can be mended, and say what cannot.")
@settings_options("store", "model")
@json_option
def check(repair: bool) -> None:
    """Check that all that is stored fits together; stop what writes to the store first.

    Compares commit rows, segments, locations, words and uploads, and in a folder the index with
    the record. Exits with 0 if nothing is wrong, 1 if something is (after --repair: still is, or
    was given up), 2 if the store cannot be checked.
    """
    from encoder.errors import AnymodalError
    from workers.library.check import checked

    try:
        with opened() as resources, progress("Checking", "rows") as bar:
            answer = checked(resources.recorded_store(), resources.uploads, bar, repair=repair)
    except AnymodalError as error:
        click.echo(f"Error: {error}", err=True)
        raise SystemExit(2) from None
    show(answer, _check_lines)
    if answer.get("left", answer["differences"]) or answer["lost"]:
        raise SystemExit(1)


def _check_lines(answer: Mapping[str, Any]) -> Iterator[RenderableType]:
    yield f"{answer['assets']} assets with {answer['segments']} rows of segments"
    for name in ("differences", "left"):
        rows = []
        for difference in answer.get(name, ()):
            asset_id, location = next(iter(difference["examples"].items()))
            cells = (difference["n"], difference["meaning"], location or asset_id)
            rows.append((*cells, difference["repair"]))
        if rows:
            yield table(("number", "what", "for example", "repair"), rows, name, n_left=4)
    if not answer.get("left", answer["differences"]):
        yield "[green]Nothing is wrong.[/]"
    for asset_id, location in answer["lost"].items():
        yield marked(f"given up: {asset_id} {location}")


@click.command()
@settings_options("store", "model")
@click.option("--dry-run", is_flag=True, help="Measure and show without changing anything.")
@click.option("--shipped", is_flag=True, help="Go back to the constants that ship with the model.")
@json_option
def calibrate(**request: Any) -> None:
    """Make scores of texts, pictures, sounds and films comparable in this store.

    Measures how near unrelated content of each kind lies to some 300 queries, without labels.
    Nothing is encoded again, and no row changes; searches continue.
    """
    from workers.pipeline import calibration

    with opened() as resources:
        result = calibration.calibrate(resources.encoder(), resources.existing_store(), **request)
    show(result, _calibration_lines)


def _calibration_lines(result: Mapping[str, Any]) -> Iterator[RenderableType]:
    """What was measured, for people: each kind's constants, and what they change."""
    rows = []
    for modality, constants in result["calibration"]["modalities"].items():
        measures = result.get("measured", {}).get(modality, constants)
        former, shares = measures.get("before") or {}, measures.get("share_of_best", {})
        figures = [of.get(name) for of in (measures, former) for name in ("mu", "c")]
        spreads = [measures.get(name) for name in ("spread", "spread_of_languages")]
        rows.append(
            (
                modality,
                measures.get("n_segments"),
                *(None if figure is None else f"{figure:.3f}" for figure in figures),
                *(None if spread is None else f"{spread / 2:.1f}" for spread in spreads),
                f"{shares['before']:.0%} → {shares['after']:.0%}" if shares else None,
            )
        )
    constants_heads = ("kind", "segments", "μ", "c", "was μ", "was c", "± c", "± c, languages")
    yield table((*constants_heads, "in top 10"), rows)
    if result["dry_run"]:
        yield "[dim]nothing changed[/]"


@click.command()
@settings_options("store")
@click.option("--model", metavar="SPEC", default="", help="The new model.")
@click.option(
    "--precision",
    help="The new model's precision, such as none or int8. [default: from the settings]",
)
@click.option(
    "--share",
    type=click.FloatRange(0.01, 1),
    default=0.5,
    show_default=True,
    help="The share of time to work; the rest is left to searches.",
)
@click.option(
    "--queries",
    "queries_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file of queries, one per line, to compare the models by. [default: 50 sampled ones]",
)
@click.option(
    "--least-overlap",
    type=click.FloatRange(0, 1),
    default=0.0,
    help="Keep the old model if the first ten hits overlap less than this.",
)
@click.option(
    "--leave-behind", is_flag=True, help="Switch even if some files cannot be read again."
)
@click.option(
    "--no-switch", is_flag=True, help="Stop before the switch; run again without this to switch."
)
@click.option("--rollback", is_flag=True, help="Go back to the former model or lanes.")
@click.option("--drop-former", is_flag=True, help="Remove embeddings of former models.")
@json_option
def reindex(queries_file: Path | None, drop_former: bool, no_switch: bool, **request: Any) -> None:
    """Move a store, or lanes of it, to another --model while it is searched.

    Files and uploads are encoded again in the background, beside the old embeddings; both models'
    answers to sampled queries are compared; then searches switch to the new model. Servers and
    workers follow within seconds. An interrupted run continues where it stopped.

    Exits with 1 if the old model stays.
    """
    from encoder.errors import InputError

    if sum(map(bool, (request["model"], request["rollback"], drop_former))) != 1:
        raise InputError(
            "--model, --rollback, --drop-former",
            got="none or several",
            wanted="exactly one of them",
        )
    if drop_former:
        _drop_former()
        return
    from workers.library.reindex import ReindexPlan, move

    lines = queries_file.read_text("utf-8").splitlines() if queries_file else []
    queries = [text for line in lines if (text := line.strip())]
    plan = ReindexPlan(**request, queries=queries, switch=not no_switch)
    with opened() as resources, progress("Encoding", "assets") as bar:
        result = move(resources, plan, bar).as_json()
    show(result, _reindex_lines)
    if not (result["switched"] or no_switch):
        sys.exit(1)


def _drop_former() -> None:
    from search.store.stored_spaces import drop_former
    from workers.config import current_settings

    dropped = drop_former(current_settings().store)
    rows = ", ".join(f"{n} rows of {space}" for space, n in dropped.items())
    show({"dropped": dropped}, lambda _: [f"Dropped {rows or 'nothing'}."])


def _reindex_lines(result: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"{result['assets']} assets: {result['encoded']} encoded, {result['known']} known, "
        f"{result['gone']} without a file"
    )
    for failure in result["failed"]:
        yield f"[yellow]left behind[/] {marked(failure['uri'])}: {marked(failure['reason'])}"
    if compared := result["comparison"]:
        yield (
            f"In {compared['n_queries']} queries, the models share "
            f"{compared['overlap_at_10']:.0%} of the first ten hits; the first hit is the same in "
            f"{compared['same_first']:.0%}. Most different:"
        )
        for query in compared["most_different"][:5]:
            yield f"  {query['overlap']:.0%}  {marked(query['query'])}"
    if result["switched"]:
        yield f"[green]Searches now use {marked(result['model'])}.[/]"
    else:
        yield f"[yellow]The old model stays.[/] {marked(result['reason'])}"

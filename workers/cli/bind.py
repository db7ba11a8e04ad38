"""``anymodal models bind``."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workers.cli.options import apply_options, json_option, model_option

if TYPE_CHECKING:
    from encoder.binding.binding import Binding


@click.command()
@click.argument("pairs", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--modality", required=True, metavar="NAME", help="The modality of the files, such as audio."
)
@click.option(
    "--with",
    "other",
    metavar="SPEC",
    help="The model whose tower is joined. [default: the plug-in that brings the modality]",
)
@click.option(
    "--through",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Texts, one per line, that both models embed; fit on these instead of on PAIRS.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write. [default: MODALITY.npz]",
)
@model_option
@json_option
def bind(
    pairs: Path,
    modality: str,
    other: str | None,
    through: Path | None,
    out: Path | None,
    model: str | None,
    as_json: bool,
) -> None:
    """Join a tower to the model's space using PAIRS of files and texts.

    PAIRS is a CSV file with the columns file and text, or a folder whose subfolders are named after
    what they hold. Fits a ridge regression from the tower's output for a file to the embedding of
    its text and judges it on held-out files; one that does not help is refused (exit code 1). With
    --through, it is fitted on texts alone and PAIRS only judge it.

    Name the file in ANYMODAL_ENCODER__BINDINGS to use it.
    """
    apply_options(model=model)
    from workers.cli.output import print_json, progress_bar, wants_json

    target = (out or Path(f"{modality}.npz")).resolve()
    with progress_bar("files") as bar:
        task = bar.add_task("Reading", total=None, note="")

        def progress(n_done: int, n_files: int) -> None:
            bar.update(task, completed=n_done, total=n_files)

        binding, failed = _bound(pairs, modality, other, through, progress)
    binding.write(target)
    if wants_json(as_json):
        print_json({"file": str(target), **_facts(binding), "failed": failed})
    else:
        _show(binding, failed, target)


def _bound(
    pairs: Path, modality: str, other: str | None, through: Path | None, progress: Any
) -> Any:
    from encoder.types import Modality
    from workers.config import current_settings
    from workers.pipeline import binding
    from workers.serving.resources import Resources

    described_files = binding.read_pairs(pairs)
    with closing(Resources(current_settings())) as resources:
        return binding.bind(
            resources.unbound_encoder(),
            Modality(modality),
            described_files,
            resources.ingest_config,
            other=resources.encoder_beside(other) if other else None,
            through=binding.read_texts(through) if through else (),
            on_progress=progress,
        )


def _facts(binding: Binding) -> dict[str, Any]:
    return {
        "modality": str(binding.modality),
        "space": binding.space,
        "made_by": binding.origin.made_by,
        **binding.figures,
    }


def _show(binding: Binding, failed: list[dict[str, str]], target: Path) -> None:
    from rich.table import Table

    from workers.cli.output import console, marked

    screen, figures = console(), binding.figures
    title = f"{figures['n_pairs']} texts against {figures['n_files']} held-out files"
    table = Table(title=title, title_justify="left")
    for heading in ("", "R@1", "R@10", "MRR"):
        table.add_column(heading, justify="right" if heading else "left")
    for when in ("before", "after"):
        failure = figures[when]
        values = (failure["recall_at_1"], failure["recall_at_10"], failure["mrr"])
        table.add_row(when, *(f"{value:.3f}" for value in values))
    screen.print(table)
    for failure in failed:
        screen.print(f"[yellow]left out[/] {marked(failure['file'])}: {marked(failure['reason'])}")
    screen.print(f"Wrote {marked(str(target))}. To use it, set")
    screen.print(marked(f"""ANYMODAL_ENCODER__BINDINGS='["{target}"]'"""))

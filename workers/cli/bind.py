"""``anymodal models bind``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import RenderableType

from workers.cli.options import json_option, settings_options
from workers.cli.output import marked, progress, show, table
from workers.cli.running import opened


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
@settings_options("model")
@json_option
def bind(
    pairs: Path, modality: str, other: str | None, through: Path | None, out: Path | None
) -> None:
    """Join a tower to the model's space using PAIRS of files and texts.

    PAIRS is a CSV file with the columns file and text, or a folder whose subfolders are named after
    what they hold. Fits a ridge regression from the tower's output for a file to the embedding of
    its text and judges it on held-out files; one that does not help is refused (exit code 1). With
    --through, it is fitted on texts alone and PAIRS only judge it.

    Name the file in ANYMODAL_ENCODER__BINDINGS to use it.
    """
    from encoder.types import Modality
    from workers.pipeline import binding

    target = (out or Path(f"{modality}.npz")).resolve()
    described_files = binding.read_pairs(pairs)
    with progress("Reading", "files") as bar, opened() as resources:
        bound, failed = binding.bind(
            resources.unbound_encoder(),
            Modality(modality),
            described_files,
            resources.ingest_config,
            other=resources.encoder_beside(other) if other else None,
            through=binding.read_texts(through) if through else (),
            on_progress=bar,
        )
    bound.write(target)
    facts = {
        "file": str(target),
        "modality": str(bound.modality),
        "space": bound.space,
        "made_by": bound.origin.made_by,
        **bound.figures,
        "failed": failed,
    }
    show(facts, _lines)


def _lines(facts: Mapping[str, Any]) -> Iterator[RenderableType]:
    rows = [
        (when, *(f"{facts[when][name]:.3f}" for name in ("recall_at_1", "recall_at_10", "mrr")))
        for when in ("before", "after")
    ]
    title = f"{facts['n_pairs']} texts against {facts['n_files']} held-out files"
    yield table(("", "R@1", "R@10", "MRR"), rows, title)
    for failure in facts["failed"]:
        yield f"[yellow]left out[/] {marked(failure['file'])}: {marked(failure['reason'])}"
    yield f"Wrote {marked(facts['file'])}. To use it, set"
    yield marked(f"""ANYMODAL_ENCODER__BINDINGS='["{facts["file"]}"]'""")

"""``anymodal dsre``: dynamic sparse inference for long texts."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def dsre() -> None:
    """Dynamic sparse inference: long texts with fewer tokens from layer to layer."""


@dsre.command()
@click.option("--model", default="bundle:default", show_default=True, help="Whose text tower.")
@click.option(
    "--texts",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder of .txt, .md and .rst files, each a text that starts with its title.",
)
@click.option("--max-loss", default=0.003, show_default=True, help="Of nDCG@10, as a share.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The file to write.")
@click.option("--json", "as_json", is_flag=True, help="JSON, as a pipe gets anyway.")
def calibrate(model: str, texts: Path, max_loss: float, out: Path, as_json: bool) -> None:
    """Fit the gate to texts like yours, by what a search loses.

    The texts are parted: some count how rare each token is, some choose the thresholds, some
    judge. Run what came out with ANYMODAL_ENCODER__ENABLE_DSRE=FILE.
    """
    from encoder.dsre.documents import read_documents
    from encoder.models.text_gate import calibrate_text
    from workers.output import console, print_json, wants_json

    progress = console(stderr=True)
    gate = calibrate_text(model, read_documents(texts), max_loss=max_loss, report=progress.print)
    gate.save(out)
    if wants_json(as_json):
        print_json({"path": str(out), "identity": gate.identity, **gate.facts})
    else:
        console().print(f"[bold]{out}[/]: thresholds {gate.settings.thresholds}")

"""``anymodal dsre``: dynamic sparse inference for long texts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from encoder.dsre.gatefile import GateFile


@click.group()
def dsre() -> None:
    """Dynamic sparse inference: drop tokens of long texts from layer to layer."""


_model = click.option(
    "--model",
    default="bundle:default",
    show_default=True,
    help="Whose text tower: the bundle, or a BERT-like hf:org/name or dir:path.",
)
_texts = click.option(
    "--texts",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder of .txt, .md and .rst files, each a text that starts with its title.",
)
_max_loss = click.option(
    "--max-loss", default=0.003, show_default=True, help="Of nDCG@10, as a share."
)
_out = click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="The file to write."
)
_json = click.option("--json", "as_json", is_flag=True, help="JSON, as a pipe gets anyway.")


@dsre.command()
@_model
@_texts
@_max_loss
@_out
@_json
def calibrate(model: str, texts: Path, max_loss: float, out: Path, as_json: bool) -> None:
    """Fit the gate to texts like yours, by the loss in search quality.

    The texts are split: some count how rare each token is, some choose the thresholds, some judge.
    Use the result with ANYMODAL_ENCODER__ENABLE_DSRE=FILE.
    """
    from encoder.dsre.fitting.documents import read_documents
    from encoder.models.prepare.text_gate import calibrate_text
    from workers.console.output import console

    progress = console(stderr=True)
    gate = calibrate_text(model, read_documents(texts), max_loss=max_loss, report=progress.print)
    _save(gate, out, as_json)


@dsre.command()
@_model
@_texts
@_max_loss
@click.option("--steps", default=400, show_default=True, help="How often the weights change.")
@click.option("--seed", default=0, show_default=True, help="Of the order of the texts.")
@_out
@_json
def distill(
    model: str, texts: Path, max_loss: float, steps: int, seed: int, out: Path, as_json: bool
) -> None:
    """Train a bolder gate, and adapt the weights to it.

    Takes about 2 s for each of --steps on one core. The texts are split: some train, some
    choose the step to stop at, some judge. Use it with ANYMODAL_ENCODER__ENABLE_DSRE=FILE.
    """
    from encoder.dsre.fitting.documents import read_documents
    from encoder.dsre.fitting.tuning import Plan
    from encoder.models.prepare.text_gate import distill_text
    from workers.console.output import console

    plan = Plan(n_steps=steps, seed=seed)
    progress = console(stderr=True)
    gate = distill_text(
        model, read_documents(texts), plan=plan, max_loss=max_loss, report=progress.print
    )
    _save(gate, out, as_json)


def _save(gate: GateFile, out: Path, as_json: bool) -> None:
    from workers.console.output import console, marked, print_json, wants_json

    gate.save(out)
    if wants_json(as_json):
        print_json({"path": str(out), "identity": gate.identity, **gate.facts})
    else:
        console().print(f"[bold]{marked(str(out))}[/]: thresholds {gate.settings.thresholds}")

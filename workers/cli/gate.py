"""``anymodal models gate``: dynamic sparse inference for long texts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from workers.cli.options import json_option
from workers.cli.output import console, marked, show

if TYPE_CHECKING:
    from encoder.dsre.gatefile import GateFile


@click.group()
def gate() -> None:
    """Dynamic sparse inference: drop tokens of long texts from layer to layer."""


_model = click.option(
    "--model",
    default="bundle:default",
    show_default=True,
    help="The model whose text tower to use: a bundle, hf:org/name or dir:path.",
)
_texts = click.option(
    "--texts",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder of .txt, .md and .rst files, each starting with its title.",
)
_max_loss = click.option(
    "--max-loss", default=0.003, show_default=True, help="The largest share of nDCG@10 to lose."
)
_out = click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="The file to write."
)


@gate.command()
@_model
@_texts
@_max_loss
@_out
@json_option
def calibrate(model: str, texts: Path, max_loss: float, out: Path) -> None:
    """Fit the gate to texts like yours, judged by the loss in search quality.

    The texts are split: some count how rare each token is, some choose the thresholds, some judge.
    Use the result with ANYMODAL_ENCODER__ENABLE_DSRE=FILE.
    """
    from encoder.dsre.fitting.documents import read_documents
    from encoder.prepare.gates.fit import calibrate_text

    say = console(stderr=True).print
    _save(calibrate_text(model, read_documents(texts), max_loss=max_loss, report=say), out)


def _save(gate: GateFile, out: Path) -> None:
    gate.save(out)
    summary = f"[bold]{marked(str(out))}[/]: thresholds {gate.settings.thresholds}"
    show({"path": str(out), "identity": gate.identity, **gate.facts}, lambda _: [summary])

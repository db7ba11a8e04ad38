"""``anymodal models gate``: dynamic sparse inference for long texts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import RenderableType

from workers.cli.options import json_option
from workers.cli.output import console, marked, show, table

if TYPE_CHECKING:
    from encoder.dsre.gatefile import GateFile
    from encoder.prepare.gates.trace import TextTrace

_GROUPS, _WORDS = 4, 8
"""How many groups of a layer a terminal shows, and how many tokens of each."""


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


@gate.command()
@_model
@_texts
@_max_loss
@click.option("--steps", default=400, show_default=True, help="How many steps to train.")
@click.option("--seed", default=0, show_default=True, help="The seed for the order of the texts.")
@click.option(
    "--from",
    "start",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A gate file to go on from, with its thresholds and changed weights.",
)
@_out
@json_option
def distill(
    model: str,
    texts: Path,
    max_loss: float,
    steps: int,
    seed: int,
    start: Path | None,
    out: Path,
) -> None:
    """Train a bolder gate, and adapt the weights to it.

    Takes about 2 s for each of --steps on one core. The texts are split: some train, some
    choose the step to stop at, some judge. Use it with ANYMODAL_ENCODER__ENABLE_DSRE=FILE.
    """
    from encoder.dsre.fitting.documents import read_documents
    from encoder.dsre.fitting.tuning import TrainingPlan
    from encoder.dsre.gatefile import GateFile
    from encoder.prepare.gates.fit import distill_text

    begun = GateFile.load(start) if start else None
    plan = TrainingPlan(n_steps=steps, seed=seed)
    if begun and begun.deltas:  # made for its thresholds, so these hold from the first step
        plan = replace(plan, annealed=0.0)
    gate = distill_text(
        model, read_documents(texts), plan=plan, start=begun, max_loss=max_loss,
        report=console(stderr=True).print,
    )  # fmt: skip
    _save(gate, out)


@gate.command()
@click.argument("text")
@_model
@click.option(
    "--gate", type=click.Path(dir_okay=False), help="A gate file to use instead of the model's own."
)
@click.option(
    "--html", type=click.Path(path_type=Path), help="Also write a page with pictures to this file."
)
@json_option
def trace(text: str, model: str, gate: str | None, html: Path | None) -> None:
    """Show which tokens of TEXT merge in which layer.

    TEXT is the text itself, "-" for standard input, or @FILE. Only the first window of a long text
    is traced.
    """
    from encoder.prepare.gates.trace import trace_text

    text_trace = trace_text(model, _text(text), gate)
    if html:
        from encoder.dsre.picture import page

        html.write_text(
            page(text_trace.tokens, text_trace.places, f"Merged tokens: {model}"), "utf-8"
        )
    layers = [
        {"layer": i + 1, "tokens": n_tokens, "groups": text_trace.groups(i)}
        for i, n_tokens in enumerate(text_trace.kept)
    ]
    facts = {
        "model": model, "tokens": text_trace.tokens, "min_tokens": text_trace.min_tokens,
        "flops_ratio": round(text_trace.flops_ratio, 3), "layers": layers,
        "html": str(html) if html else None,
    }  # fmt: skip
    show(facts, lambda _: _trace_lines(text_trace))


def _text(argument: str) -> str:
    """The text that an argument names.

    Raises:
        InputError: it is empty, or the file cannot be read.
    """
    from encoder.errors import InputError

    if argument == "-":
        argument = sys.stdin.read()
    elif argument.startswith("@"):
        try:
            argument = Path(argument[1:]).expanduser().read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError("TEXT", got=f"{argument}: {error}", wanted="a text file") from error
    if not argument.strip():
        raise InputError("TEXT", got="an empty text", wanted="some sentences")
    return argument


def _trace_lines(text_trace: TextTrace) -> Iterator[RenderableType]:
    rows, n_before = [], len(text_trace.tokens)
    for layer, n_tokens in enumerate(text_trace.kept):
        largest = sorted(text_trace.groups(layer), key=len, reverse=True)[:_GROUPS]
        words = (" ".join(text_trace.tokens[i] for i in group[:_WORDS]) for group in largest)
        merged_words = " | ".join(words) if n_tokens < n_before else ""
        rows.append((str(layer + 1), str(n_tokens), marked(merged_words)))
        n_before = n_tokens
    yield table(("layer", "tokens", "merged"), rows, n_left=3)
    yield f"{text_trace.flops_ratio:.2f} times fewer FLOPs than without the gate"
    if len(text_trace.tokens) < text_trace.min_tokens:
        yield f"Texts below {text_trace.min_tokens} tokens run without the gate."


def _save(gate: GateFile, out: Path) -> None:
    gate.save(out)
    said = f"[bold]{marked(str(out))}[/]: thresholds {gate.settings.thresholds}"
    show({"path": str(out), "identity": gate.identity, **gate.facts}, lambda _: [said])

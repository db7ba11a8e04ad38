"""``anymodal models quantize``: a tower of the model, in few bits."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import RenderableType

from workers.cli.options import json_option
from workers.cli.output import marked, show, table

_path = click.Path(exists=True, path_type=Path)


@click.command()
@click.option(
    "--model",
    default="bundle:english",
    show_default=True,
    help="The model: bundle:english, hf:org/name or dir:path.",
)
@click.option("--tower", default="text", show_default=True, help="The tower: text, image or audio.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The folder to write.")
@click.option(
    "--scheme",
    default="auto",
    show_default=True,
    help="auto, or one scheme for all layers, such as int8.",
)
@click.option("--budget", help='The size of the whole tower: "1/8", "12MB" or bytes.')
@click.option("--bits", type=float, help="The size, as average bits per parameter.")
@click.option("--max-loss", type=float, help="Choose the smallest with at most this measured loss.")
@click.option(
    "--keep",
    multiple=True,
    metavar="LAYER=SCHEME",
    help="Fix the scheme of layers, such as _fc=fp16. Repeatable.",
)
@click.option("--calibration", type=_path, help="Texts, pictures or sounds to calibrate with.")
@click.option(
    "--items",
    type=click.IntRange(min=2),
    default=256,
    show_default=True,
    help="The most calibration items to use.",
)
@click.option(
    "--least-cosine",
    type=click.FloatRange(max=1),
    default=0.99,
    show_default=True,
    help="Refuse a hub model whose mean cosine to float32 is lower.",
)
@json_option
def quantize(
    model: str,
    tower: str,
    out: Path,
    scheme: str,
    keep: tuple[str, ...],
    calibration: Path | None,
    items: int,
    least_cosine: float,
    **limits: Any,
) -> None:
    """Quantize a tower's weights to few bits, for serving.

    Measures how sensitive each layer is, chooses its bit width, and writes the model, its ONNX
    file and the measurements to the folder. Use it with
    ANYMODAL_ENCODER__QUANTIZATION=FOLDER; a folder of such folders runs several towers.
    """
    from encoder.prepare.quantized_tower import quantize_tower

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", UserWarning)
        limits["keep"] = dict(_pin(text) for text in keep) or None
        quantized = quantize_tower(
            model, tower, out, config=scheme, limits=limits,
            calibration=calibration, max_items=items, least_cosine=least_cosine,
        )  # fmt: skip
    summary = quantized.summary()
    summary["warnings"] = [str(warning.message) for warning in warned]
    show(summary, _lines)


def _pin(text: str) -> tuple[str, str]:
    layer, equals, scheme = text.partition("=")
    if not (layer and equals and scheme):
        raise click.BadParameter(f"{text!r} is not LAYER=SCHEME, such as _fc=fp16.")
    return layer, scheme


def _lines(summary: Mapping[str, Any]) -> Iterator[RenderableType]:
    yield table(("layer", "scheme"), summary["layers"].items(), n_left=2)
    for line in (*summary["warnings"], *summary["notes"]):
        yield f"[yellow]{marked(line)}[/]"
    loss = "not measured" if summary["loss"] is None else f"{summary['loss']:.2g}"
    cosine = summary["cosine"]
    near = f", mean cosine to float32 {cosine['mean']:.4f}" if cosine else ""
    yield (
        f"[bold]{summary['compression']}×[/] smaller: {summary['fp32_bytes'] / 1e6:.1f} → "
        f"{summary['bytes'] / 1e6:.1f} MB, {summary['average_bits']} bits on average, "
        f"loss ({summary['objective'] or 'no data'}) {loss}{near}, in {marked(summary['folder'])}"
    )

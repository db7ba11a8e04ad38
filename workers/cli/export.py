"""``anymodal models export`` and ``export-onnx``: towers for other programs and machines."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from workers.cli.options import apply_options, json_option, model_option


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--target",
    type=click.Choice(["mobile"]),
    default="mobile",
    show_default=True,
    help="The machines to write for.",
)
@click.option(
    "--precision",
    type=click.Choice(["int8", "float32"]),
    default="int8",
    show_default=True,
    help="The precision of the networks.",
)
@model_option
@json_option
def export(
    folder: Path,
    target: str,  # noqa: ARG001 - there is one
    precision: str,
    model: str | None,
    as_json: bool,
) -> None:
    """Write the model's text and picture towers to FOLDER as ONNX, with a manifest.

    Each network is run and compared with the server's rows before the folder appears.
    """
    apply_options(model=model)
    from encoder.prepare.mobile import export_mobile
    from workers.cli.output import console, print_json, wants_json
    from workers.config import current_settings

    name = model or current_settings().encoder.model
    quantization = None if precision == "float32" else precision
    exported = export_mobile(name, folder, quantization=quantization)
    if wants_json(as_json):
        print_json({**vars(exported), "folder": str(exported.folder)})
        return
    cosines = ", ".join(f"{name} {cosine:.5f}" for name, cosine in exported.cosines.items())
    size = f"{exported.size_bytes / 1e6:.1f} MB"
    console().print(f"{folder}: {size}; lowest cosines to the server: {cosines}", markup=False)


@click.command("export-onnx")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The file to write.")
@click.option(
    "--target",
    type=click.Choice(["onnxruntime", "tensorrt"]),
    default="onnxruntime",
    show_default=True,
    help="The runtime to write for.",
)
def export_onnx(folder: Path, out: Path, target: Literal["onnxruntime", "tensorrt"]) -> None:
    """Export the tower that `anymodal models quantize` wrote to FOLDER as one ONNX file.

    A file for TensorRT is checked against its published rules; TensorRT itself is not run.
    """
    from encoder.prepare.quantized_tower import export_tower
    from workers.cli.output import console, print_json, wants_json

    report = export_tower(folder, out, target=target)
    if wants_json(False):
        print_json({**vars(report), "path": str(report.path)})
    else:
        console().print(f"{out}: {report.nbytes / 1e6:.2f} MB", markup=False)

"""``anymodal models export`` and ``export-onnx``: towers for other programs and machines."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from workers.cli.options import json_option, settings_options
from workers.cli.output import marked, show


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
@settings_options("model")
@json_option
def export(folder: Path, target: str, precision: str) -> None:  # noqa: ARG001 - there is one target
    """Write the model's text and picture towers to FOLDER as ONNX, with a manifest.

    Each network is run and compared with the server's rows before the folder appears.
    """
    from encoder.prepare.mobile import export_mobile
    from workers.config import current_settings

    quantization = None if precision == "float32" else precision
    model = current_settings().encoder.model
    exported = export_mobile(model, folder, quantization=quantization)
    cosines = ", ".join(f"{name} {cosine:.5f}" for name, cosine in exported.cosines.items())
    size = f"{exported.size_bytes / 1e6:.1f} MB"
    said = marked(f"{folder}: {size}; lowest cosines to the server: {cosines}")
    show({**vars(exported), "folder": str(exported.folder)}, lambda _: [said])


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

    report = export_tower(folder, out, target=target)
    said = marked(f"{out}: {report.nbytes / 1e6:.2f} MB")
    show({**vars(report), "path": str(report.path)}, lambda _: [said])

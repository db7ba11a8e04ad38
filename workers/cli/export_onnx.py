"""``anymodal export-onnx``: a quantized tower for another runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click


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
    """Export the tower that `anymodal quantize` wrote to FOLDER as one ONNX file.

    A file for TensorRT is checked against its published rules; TensorRT itself is not run.
    """
    from encoder.models.prepare.quantized_tower import export_tower
    from workers.cli.output import console, print_json, wants_json

    report = export_tower(folder, out, target=target)
    if wants_json(False):
        print_json({**vars(report), "path": str(report.path)})
    else:
        console().print(f"{out}: {report.nbytes / 1e6:.2f} MB", markup=False)

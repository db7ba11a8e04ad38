"""``anymodal models export``: towers for other programs and machines."""

from __future__ import annotations

from pathlib import Path

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
    summary = marked(f"{folder}: {size}; lowest cosines to the server: {cosines}")
    show({**vars(exported), "folder": str(exported.folder)}, lambda _: [summary])

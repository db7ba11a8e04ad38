"""Forty networks through the quantizer; prints the table of `benchmarks/networks.md`.

`python -m tests.unit.encoder.quant.networks`
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import torch

from encoder import Quantizer
from encoder.errors import AnymodalError, ModelError
from encoder.quant import sensitivity, synthetic
from encoder.quant.schemes import INT4, INT8
from tests.unit.encoder.quant import chosen_networks, published_networks, written_networks
from tests.unit.encoder.quant.listed import NETWORKS, Network

__all__ = ["NETWORKS", "row", "tried"]
_LISTS = chosen_networks, published_networks, written_networks
"""In the order of the table; importing them fills the list."""

NEAR = 1e-5
"""How near ONNX Runtime comes to torch, as long as it rounds no activations."""


def tried(tried_network: Network, folder: Path) -> str:
    """Take a network through the four lines; what came of it, in words.

    What the quantizer asks for it is given: inputs, and which output to compare.
    """
    torch.manual_seed(0)
    model = tried_network.make().eval()
    given: dict[str, Any] = {}
    quantized = None
    while True:
        try:
            # few inputs and widths, to be quick
            few = mock.patch.object(sensitivity, "candidates", return_value=[INT4, INT8])
            with few, mock.patch.multiple(synthetic, _N_ITEMS=2, _N_TOKENS=4, _STEPS=0):
                quantizer = Quantizer(model, progress=False, **given)
                quantizer.analyze_sensitivity()
                quantized = quantizer.apply(config="auto")
                written = quantizer.export_onnx(folder / "model.onnx")
        except AnymodalError as error:
            message = str(error)
            assert "\x1b" not in message, message
            assert "\n" not in message, message
            if "calibration=" in message and "calibration" not in given:
                assert tried_network.batches, message
                given["calibration"] = tried_network.batches()
            elif "outputs=" in message and "outputs" not in given:
                assert tried_network.outputs, message
                given["outputs"] = tried_network.outputs
            elif isinstance(error, ModelError) and "branches on a value" in message:
                return "three: the export is refused, its forward branches on a value"
            elif isinstance(error, ModelError) and quantized:
                return "three: the export is refused"
            else:
                raise
            continue
        assert written.difference <= NEAR, written
        assert quantized.schemes
        wanted = {"calibration": "inputs", "outputs": f'`outputs="{tried_network.outputs}"`'}
        return ", given ".join(["yes", *filter(None, [" and ".join(wanted[x] for x in given)])])


def row(name: str, result: str) -> str:
    """A line of the table."""
    return f"| {name} | {NETWORKS[name].ingredient} | {result} |"


if __name__ == "__main__":
    with TemporaryDirectory() as scratch:
        for each, one in NETWORKS.items():
            sys.stdout.write(row(each, tried(one, Path(scratch))) + "\n")

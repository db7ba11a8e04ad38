"""Fuse attention that an exporter took apart back into one operator of ONNX Runtime.

Where nothing is masked it gets no mask, and is then blocked for the cache (Dao et al. 2022); this
is decided as the network runs, since every graph that takes batches has a mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from encoder.onnx.graph import MICROSOFT
from encoder.onnx.network import OnnxNetwork, attribute
from encoder.onnx.structure import Shape

if TYPE_CHECKING:
    from onnx import NodeProto

_SWAP_HEADS = [0, 2, 1, 3]
_BOOL = 9
_OPSET = 23
"""The first opset that has `Attention`."""

_SHORT = 512
"""Up to this many tokens `Attention` is the faster operator."""

_LOWEST = np.float32(-1e30)
"""A logit without weight. Infinity would turn the rows of padding, which see nothing, into NaN."""


@dataclass(frozen=True, eq=False)
class Attention:
    """softmax(scale q k^T + mask) v.

    Args:
        q: [n, n_heads, length, head_dim].
        k: as ``q``; or [n, length, n_heads, head_dim] if ``k_by_token``.
        v: as ``q``.
        mask: added to the logits, or (bool) which of them count.
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


def attentions(network: OnnxNetwork) -> Iterator[Attention]:
    """All attentions that are found in the main graph."""
    for node in network.nodes("Softmax", "Attention"):
        attention = _operator(node) if node.op_type == "Attention" else _softmax(network, node)
        if attention:
            yield attention


def _operator(node: NodeProto) -> Attention | None:
    """The operator of opset 23."""
    inputs = [*node.input, "", ""]
    is_plain = not any(attribute(node, name) for name in ("is_causal", "softcap", "q_num_heads"))
    scale = attribute(node, "scale")
    if not is_plain or scale is None or any(inputs[4:]) or len(node.output) > 1:
        return None
    q, k, v, mask = inputs[:4]
    return Attention(q, k, v, node, scale, mask or None)


def _softmax(network: OnnxNetwork, node: NodeProto) -> Attention | None:
    end = _mixed(network, node.output[0])
    if end is None or attribute(node, "axis", -1) not in (-1, 3):
        return None
    logits, scale = _unscaled(network, node.input[0])
    mask = None
    if scale != 1.0 and network.maker(logits, "Add"):  # a mask would be scaled too
        return None
    if added := network.maker(logits, "Add"):
        for term, other in (added.input, reversed(added.input)):
            inner, factor = _unscaled(network, term)
            if network.maker(inner, "MatMul") and mask is None:
                logits, mask, scale = inner, other, scale * factor
    product = network.maker(logits, "MatMul")
    if product is None:
        return None
    q, q_scale = _unscaled(network, product.input[0])
    k, k_scale = _unscaled(network, product.input[1])
    attention = Attention(q, k, end.input[1], end, scale * q_scale * k_scale, mask)
    return _with_keys(network, attention)


def _mixed(network: OnnxNetwork, weights: str) -> NodeProto | None:
    """The product of the weights and v; rows of NaN may be set to zero before it."""
    readers = network.readers(weights)
    chosen = next((node for node in readers if node.op_type == "Where"), None)
    if chosen is not None and network.maker(chosen.input[0], "IsNaN"):
        if {node.op_type for node in readers} != {"IsNaN", "Where"}:
            return None
        weights = chosen.output[0]
    end = network.only_reader(weights, "MatMul")
    return end if end is not None and end.input[0] == weights else None


def _unscaled(network: OnnxNetwork, value: str) -> tuple[str, float]:
    """A value before it is multiplied by constants, and their product."""
    scale = 1.0
    while node := network.maker(value, "Mul", "Div"):
        factor = network.scalar(node.input[1])
        operand = node.input[0]
        if factor is None and node.op_type == "Mul":
            factor, operand = network.scalar(node.input[0]), node.input[1]
        if factor is None:
            break
        value, scale = operand, scale / factor if node.op_type == "Div" else scale * factor
    return value, scale


def _with_keys(network: OnnxNetwork, attention: Attention) -> Attention | None:
    """Undo the transposition of k, which exporters write in three ways."""
    node = network.maker(attention.k, "Transpose", "Reshape")
    if node is None:
        return None
    if node.op_type == "Transpose":
        order = list(attribute(node, "perm"))
        by_token = order == [0, 2, 3, 1]
        if not by_token and order != [0, 1, 3, 2]:
            return None
        k, scale = _unscaled(network, node.input[0])
        return replace(attention, k=k, scale=attention.scale * scale, k_by_token=by_token)
    swap = network.maker(node.input[0], "Transpose")
    flat = swap and network.maker(swap.input[0], "Reshape")
    if not flat or not swap or list(attribute(swap, "perm")) != [0, 2, 1]:
        return None
    return replace(attention, k=flat.input[0])


class FusedAttention:
    """Puts one operator in the place of what was found.

    ONNX's `Attention` is faster for texts of a few hundred tokens, and always with a mask.
    `MultiHeadAttention` never holds all logits at once, and is faster for longer texts.
    """

    def __init__(self, network: OnnxNetwork) -> None:
        network.uses(MICROSOFT)
        self._network = network
        self._masks: dict[str, tuple[str, str]] = {}
        self._has_operator: bool | None = None

    def replace(self, attn: Attention) -> bool:
        """Replace it; False if the numbers of heads are not known, or differ."""
        network = self._network
        k_axis = 2 if attn.k_by_token else 1
        q_heads, v_heads = _heads(network.shape(attn.q)), _heads(network.shape(attn.v))
        if q_heads is None or v_heads is None or q_heads != _heads(network.shape(attn.k), k_axis):
            return False
        if q_heads[0] != v_heads[0]:
            return False
        if self._has_operator is None:
            self._has_operator = network.raise_opset(_OPSET)
        k, v, n_shared = attn.k, attn.v, q_heads[0]
        if self._has_operator and not attn.k_by_token:
            k, v, n_shared = self._unrepeated(attn, q_heads[0])
        q, v = self._rows(attn.q), self._rows(v)
        k = self._flat(k) if attn.k_by_token else self._rows(k)
        network.remove(attn.end)
        heads = q_heads[0], n_shared
        mixed = network.place(self._mix(attn, (q, k, v), heads))
        by_token = network.add("Reshape", mixed, network.ints(0, 0, *v_heads))
        self._close(attn.end.output[0], by_token)
        return True

    def _unrepeated(self, attn: Attention, n_heads: int) -> tuple[str, str, int]:
        """k and v before their heads were repeated to match q, and the number of those heads."""
        originals = [self._repeated(value) for value in (attn.k, attn.v)]
        counts = [_heads(self._network.shape(value)) for value in originals if value]
        if None in originals or len({c and c[0] for c in counts}) != 1 or not counts[0]:
            return attn.k, attn.v, n_heads
        k, v = (value or "" for value in originals)
        return k, v, counts[0][0]

    def _repeated(self, value: str) -> str | None:
        network = self._network
        flat = network.maker(value, "Reshape")
        grown = flat and network.maker(flat.input[0], "Expand")
        apart = grown and network.maker(grown.input[0], "Unsqueeze")
        if not apart:
            return None
        axes = network.array(apart.input[1]) if len(apart.input) > 1 else None
        unsqueezed_axes = attribute(apart, "axes") if axes is None else axes.tolist()
        return str(apart.input[0]) if unsqueezed_axes == [2] else None

    def _mix(
        self, attn: Attention, rows: tuple[str, str, str], heads: tuple[int, int]
    ) -> NodeProto:
        network = self._network
        whole = partial(
            network.node, "Attention", q_num_heads=heads[0], kv_num_heads=heads[1],
            scale=attn.scale,
        )  # fmt: skip
        unmasked = self._blocked(attn, rows, heads)
        if self._has_operator:
            is_long = self._is_long(attn.q, rows[0])
            if not isinstance(is_long, bool):
                unmasked = [network.fork(is_long, unmasked, [whole(*rows)])]
            elif not is_long:
                unmasked = [whole(*rows)]
        if attn.mask is None:
            *earlier_nodes, last = unmasked
            for node in earlier_nodes:
                network.place(node)
            return last
        is_masked, bias = self._mask(attn.mask, attn.q)
        masked = (
            [whole(*rows, bias)]
            if self._has_operator
            else self._blocked(attn, (*rows, "", "", bias), heads)
        )
        return network.fork(is_masked, masked, unmasked)

    def _blocked(
        self, attn: Attention, inputs: tuple[str, ...], heads: tuple[int, int]
    ) -> list[NodeProto]:
        """`MultiHeadAttention`, which needs as many heads of k and v as of q."""
        network, (n_heads, n_shared) = self._network, heads
        nodes: list[NodeProto] = []
        q, *keys_values = inputs
        if n_shared != n_heads:
            for i, (value, like) in enumerate(zip(keys_values[:2], (attn.q, attn.v), strict=True)):
                width = (network.shape(like) or (0,) * 4)[3] or 0
                repeating = self._repeat(value, n_shared, n_heads // n_shared, width)
                nodes += repeating
                keys_values[i] = repeating[-1].output[0]
        settings: dict[str, Any] = {"num_heads": n_heads, "scale": attn.scale}
        nodes.append(
            network.node("MultiHeadAttention", q, *keys_values, domain=MICROSOFT, **settings)
        )
        return nodes

    def _repeat(self, rows: str, n_heads: int, n_times: int, width: int) -> list[NodeProto]:
        network = self._network
        apart = network.node("Reshape", rows, network.ints(0, 0, n_heads, 1, width))
        times = network.ints(1, 1, 1, n_times, 1)
        grown = network.node("Expand", apart.output[0], times)
        return [apart, grown, network.node("Reshape", grown.output[0], network.ints(0, 0, -1))]

    def _is_long(self, q: str, rows: str) -> bool | str:
        """A constant, or the name of a value that the network computes."""
        network = self._network
        length = (network.shape(q) or (None,) * 4)[2]
        if length is not None:
            return length > _SHORT
        sides = network.add("Shape", rows)
        length_axis = network.constant(np.array(1, np.int64))
        least = network.constant(np.array(_SHORT, np.int64))
        return network.add("Greater", network.add("Gather", sides, length_axis), least)

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
        """Produce the old output, or the rows by token if only those are read."""
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
        # a mask can be as small as [n, 1, 1, length], which the operator does not take
        if mask not in self._masks:
            lowest, zero = network.constant(_LOWEST), network.constant(np.float32(0))
            if network.is_bool(mask):
                bias = network.add("Where", mask, zero, lowest)
            else:
                bias = network.add("Max", mask, lowest)
            size = network.add("ReduceMax", network.add("Abs", bias), keepdims=0)
            length = network.add("Gather", network.add("Shape", q), network.ints(2), axis=0)
            single = network.ints(1)
            square = network.add("Concat", single, single, length, single, axis=0)
            self._masks[mask] = (
                network.add("Cast", size, to=_BOOL),
                network.add("Expand", bias, square),
            )
        return self._masks[mask]


def _heads(shape: Shape | None, axis: int = 1) -> tuple[int, int] | None:
    """How many heads there are, and how wide they are."""
    if shape is None or len(shape) != 4:
        return None
    n_heads, width = shape[axis], shape[3]
    return None if n_heads is None or width is None else (n_heads, width)

"""Fuse attention that an exporter took apart back into one operator of ONNX Runtime, and GELU.

Where nothing is masked it gets no mask, and is then blocked for the cache (Dao et al. 2022); this
is decided as the network runs, since every graph that takes batches has a mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

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

_LOWEST = np.float32(-1e30)
"""A logit without weight. Infinity would turn the rows of padding, which see nothing, into NaN."""


def fuse(network: OnnxNetwork) -> dict[str, int]:
    """Rewrite all that is found; return the number of rewrites by name."""
    attention = FusedAttention(network)
    n_attentions = sum(attention.replace(attn) for attn in attentions(network))
    gelus = list(network.nodes("Gelu"))
    for node in gelus:
        network.remove(node)
        network.add("FastGelu", node.input[0], domain=MICROSOFT, output=node.output[0])
    return {"attention": n_attentions, "gelu": len(gelus)}


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
    for node in network.nodes("Softmax"):
        if attention := _softmax(network, node):
            yield attention


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

    `MultiHeadAttention` never holds all logits at once, unless there is a mask; then ONNX's
    `Attention` is faster.
    """

    def __init__(self, network: OnnxNetwork) -> None:
        network.uses(MICROSOFT)
        self._network = network
        self._masks: dict[str, tuple[str, str]] = {}

    def replace(self, attn: Attention) -> bool:
        """Replace it; False if the numbers of heads are not known, or differ."""
        network = self._network
        q_heads, v_heads = _heads(network.shape(attn.q)), _heads(network.shape(attn.v))
        k_heads = _heads(network.shape(attn.k), 2 if attn.k_by_token else 1)
        if q_heads is None or v_heads is None or q_heads != k_heads or q_heads[0] != v_heads[0]:
            return False
        has_operator = network.raise_opset(_OPSET)
        k = self._flat(attn.k) if attn.k_by_token else self._rows(attn.k)
        rows = self._rows(attn.q), k, self._rows(attn.v)
        network.remove(attn.end)
        blocked = partial(
            network.node, "MultiHeadAttention", *rows, domain=MICROSOFT, num_heads=q_heads[0],
            scale=attn.scale,
        )  # fmt: skip
        whole = partial(
            network.node, "Attention", *rows, q_num_heads=q_heads[0], kv_num_heads=q_heads[0],
            scale=attn.scale,
        )  # fmt: skip
        node = blocked()
        if attn.mask is not None:
            is_masked, bias = self._mask(attn.mask, attn.q)
            masked = whole(bias) if has_operator else blocked("", "", bias)
            node = network.fork(is_masked, [masked], [node])
        by_token = network.add("Reshape", network.place(node), network.ints(0, 0, *v_heads))
        self._close(attn.end.output[0], by_token)
        return True

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

"""Layers that must share a scheme, found by their names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

_QKV = (
    {"query", "key", "value"},
    {"q_proj", "k_proj", "v_proj"},
    {"q_lin", "k_lin", "v_lin"},
    {"to_q", "to_k", "to_v"},
    {"q", "k", "v"},
)


def attention_groups(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Query, key and value projections of each attention: runtimes fuse them into one product.

    >>> attention_groups(["layers.0.query", "layers.0.key", "layers.0.value", "layers.0.ffn_in"])
    [('layers.0.query', 'layers.0.key', 'layers.0.value')]
    """
    siblings: dict[str, dict[str, str]] = defaultdict(dict)
    for name in names:
        parent, _, own = name.rpartition(".")
        siblings[parent][own] = name
    return [
        tuple(name for own, name in children.items() if own in qkv)
        for children in siblings.values()
        for qkv in _QKV
        if qkv <= children.keys()
    ]

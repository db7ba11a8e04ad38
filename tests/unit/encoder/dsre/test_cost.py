"""FLOPs against a count by hand."""

from __future__ import annotations

from encoder.dsre.cost import Shape, dense_flops, sparse_flops

SHAPE = Shape(n_layers=2, hidden_dim=4, ffn_dim=16)


def layer(before: int, after: int, *, asking: int | None = None) -> int:
    asking = before if asking is None else asking
    projections = 2 * 4 * 4 * (2 * before + 2 * asking)
    attention = 2 * 2 * before * asking * 4
    return projections + attention + 2 * 2 * 4 * 16 * after


def test_dense() -> None:
    assert dense_flops(SHAPE, [10, 3]).tolist() == [2 * layer(10, 10), 2 * layer(3, 3)]


def test_fewer_tokens_and_the_gate() -> None:
    gate = 2 * 4 * 5 * 5
    found = sparse_flops(SHAPE, [10], [[10, 6]], gated=[False, True])
    assert found.tolist() == [layer(10, 10) + layer(10, 6) + gate]


def test_cls_alone_in_the_last_layer() -> None:
    found = sparse_flops(SHAPE, [10], [[8, 8]], gated=[False, False], cls_only=True)
    assert found.tolist() == [layer(10, 8) + layer(8, 1, asking=1)]

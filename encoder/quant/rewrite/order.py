"""The order of a graph's nodes: makers before readers, and only what an output needs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto


def reads(node: NodeProto) -> Iterator[str]:
    """The values that a node reads, and those that its subgraphs take from around them."""
    yield from (value for value in node.input if value)
    for attribute in node.attribute:
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            yield from _captured(graph)


def _captured(graph: GraphProto) -> Iterator[str]:
    own = {v.name for v in graph.input} | {t.name for t in graph.initializer}
    own |= {value for node in graph.node for value in node.output}
    inner = [value for node in graph.node for value in reads(node)]
    yield from (v for v in (*inner, *(o.name for o in graph.output)) if v not in own)


def needed(nodes: Sequence[NodeProto], outputs: Iterable[str]) -> list[NodeProto]:
    """The nodes that ``outputs`` need, each after those that it reads from."""
    makers = {value: i for i, node in enumerate(nodes) for value in node.output if value}
    order: list[NodeProto] = []
    done: set[int] = set()
    stack = [(makers[value], False) for value in outputs if value in makers]
    while stack:
        i, inputs_done = stack.pop()
        if i in done:
            continue
        if inputs_done:
            done.add(i)
            order.append(nodes[i])
            continue
        stack.append((i, True))
        stack.extend(
            (makers[v], False) for v in reads(nodes[i]) if v in makers and makers[v] not in done
        )
    return order

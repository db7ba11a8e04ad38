"""What a graph's nodes read, and their order: producers before readers. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto


def reads(node: NodeProto) -> Iterator[str]:
    """The values that a node reads, and those that its subgraphs capture from outside."""
    yield from (value for value in node.input if value)
    for graph in _subgraphs(node):
        yield from _captured(graph)


def _subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        yield from (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs)


def _captured(graph: GraphProto) -> Iterator[str]:
    own = {v.name for v in graph.input} | {t.name for t in graph.initializer}
    own |= {value for node in graph.node for value in node.output}
    inner = [value for node in graph.node for value in reads(node)]
    yield from (v for v in (*inner, *(o.name for o in graph.output)) if v not in own)


def operators(graph: GraphProto) -> set[str]:
    """The names of all operators, including those in subgraphs."""
    found = {node.op_type for node in graph.node}
    for node in graph.node:
        for inner in _subgraphs(node):
            found |= operators(inner)
    return found


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

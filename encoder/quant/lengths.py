"""At which lengths of its varying axes a graph must be compared with the network it was made of.

A forward that branches on a length is traced along one branch. What the tracer noted about lengths
(`Guard`) says where another branch begins; but whether that one computes anything else only a run
shows. Importing this imports torch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor

Axis = tuple[str, int]
"""The name of an input, and one of its axes."""

_FIRST = (1, 2, 3)
"""Lengths that are compared in any case, besides one more than the example's: tracers take 1 for
greater than 1 without a note."""
_TO_64, _TO_12 = range(1, 65), range(1, 13)
_MAX_VALUES = 1 << 26
"""The most values of all inputs together; longer ones are not compared."""


@dataclass(frozen=True, eq=False)
class Guard:
    """A condition on lengths under which a graph holds.

    Args:
        condition: an expression of sympy's symbols.
        axes: some axis by the symbol of its length.
    """

    condition: Any
    axes: Mapping[Any, Axis]

    def holds(self, lengths: Mapping[Axis, int]) -> bool:
        """Whether these lengths fulfil it."""
        values = {symbol: lengths[axis] for symbol, axis in self.axes.items()}
        return bool(self.condition.subs(values) != False)  # noqa: E712  sympy's own

    def bounds(self) -> set[int]:
        """The numbers in it and their neighbours."""
        numbers = {abs(int(x)) for x in self.condition.atoms() if x.is_Integer}
        return {n + more for n in numbers for more in (-1, 0, 1) if n + more > 0}


@dataclass(frozen=True, eq=False)
class Probe:
    """Inputs of other lengths than the example's.

    Args:
        inputs: by name.
        lengths: of the axes that differ.
    """

    inputs: dict[str, Any]
    lengths: Mapping[Axis, int]

    def __str__(self) -> str:
        return ", ".join(f"{name}.shape[{axis}] = {n}" for (name, axis), n in self.lengths.items())


def guards_of(program: torch.export.ExportedProgram, names: Collection[str]) -> list[Guard]:
    """What the tracer assumed about the lengths of these inputs.

    Args:
        program: as captured, not yet decomposed.
        names: of its inputs, in order.
    """
    nodes = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    values = [nodes[name].meta["val"] for name in program.graph_signature.user_inputs]
    axes: dict[Any, Axis] = {}
    conditions: list[Any] = []
    for name, value in zip(names, values, strict=True):
        for axis, length in enumerate(value.shape):
            if isinstance(length, torch.SymInt) and (lengths := length.node.shape_env):
                axes.setdefault(length.node.expr, (name, axis))
                conditions = [lengths.replace(guard.expr) for guard in lengths.guards]
    guards = []
    for condition in conditions:
        used = {symbol: axes[symbol] for symbol in condition.free_symbols if symbol in axes}
        if used and len(used) == len(condition.free_symbols):
            guards.append(Guard(condition, used))
    return guards


def probes(
    inputs: Mapping[str, Any], axes: Mapping[str, Sequence[int]], guards: Sequence[Guard]
) -> Iterator[Probe]:
    """Inputs of other lengths: short ones, a longer one, and for each guard one that breaks it.

    Axes of the same length are taken to belong together, as those of tokens and of their mask.

    Args:
        inputs: the example.
        axes: those that vary, by input.
        guards: see `Guard`.
    """
    groups = _together(inputs, axes)
    example = {axis: n for n, group in groups for axis in group}
    done: list[Mapping[Axis, int]] = []

    def probe(lengths: Mapping[Axis, int]) -> Iterator[Probe]:
        other = {axis: n for axis, n in lengths.items() if n != example[axis]}
        if other and other not in done:
            done.append(other)
            resized = _resized(inputs, other)
            if sum(x.numel() for x in resized.values() if isinstance(x, Tensor)) <= _MAX_VALUES:
                yield Probe(resized, other)

    for n, group in groups:
        for length in (*_FIRST, n + 1):
            yield from probe(dict.fromkeys(group, length))
    yield from probe(dict.fromkeys(example, 1))
    for guard in guards:
        yield from probe(_breaking(guard, [group for _, group in groups], example))


def _together(
    inputs: Mapping[str, Any], axes: Mapping[str, Sequence[int]]
) -> list[tuple[int, list[Axis]]]:
    """The varying axes in groups of the same length; two of one input are never in one group."""
    groups: list[tuple[int, list[Axis]]] = []
    for name, varying in axes.items():
        for axis in varying if name in inputs else ():
            n = inputs[name].shape[axis]
            for length, group in groups:
                if length == n and all(other != name for other, _ in group):
                    group.append((name, axis))
                    break
            else:
                groups.append((n, [(name, axis)]))
    return groups


def _breaking(
    guard: Guard, groups: Sequence[Sequence[Axis]], example: Mapping[Axis, int]
) -> Mapping[Axis, int]:
    """The least lengths found that break a guard; none if it holds for all that are tried."""
    used = [group for group in groups if any(axis in group for axis in guard.axes.values())]
    tried = sorted({*_TO_64, *guard.bounds()}) if len(used) == 1 else _TO_12
    for combined in product(tried, repeat=len(used)):
        pairs = zip(used, combined, strict=True)
        lengths = {axis: n for group, n in pairs for axis in group}
        if not guard.holds({**example, **lengths}):
            return lengths
    return {}


def _resized(inputs: Mapping[str, Any], lengths: Mapping[Axis, int]) -> dict[str, Any]:
    """Inputs cut, or lengthened by repeating what is last, which keeps what is sorted sorted."""
    resized = dict(inputs)
    for (name, axis), length in lengths.items():
        places = torch.arange(length).clamp_max(resized[name].shape[axis] - 1)
        resized[name] = resized[name].index_select(axis, places)
    return resized

"""Which scheme each layer gets: an integer programme over measured losses. Pure.

One option is chosen for every layer so that the summed loss is least within a size, or the size
least within a summed loss: a multiple-choice knapsack, solved exactly by HiGHS (Huangfu & Hall
2018). That the layers' losses add up is an assumption; see `encoder.quant.sensitivity`.
"""

from __future__ import annotations

import ctypes
import math
import os
import sys
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase

from encoder.errors import InputError
from encoder.quant.schemes import FP32, Scheme

_TOLERANCE = 1e-6
"""What the solver treats as 0 in sums with a limit of 1."""
_COST_SCALE = 1e4
"""The solver stops within 1e-6 of the optimum, in absolute terms, so the costs are scaled up."""
_SMALLEST_LIMIT = 1e-300
"""Of a loss: what is smaller would overflow in a ratio to it."""
_MAX_NODES = 200_000
_ATTEMPTS = 5
_SHOWN = 4


class BudgetWarning(UserWarning):
    """No allocation reaches the requested size or loss."""


@dataclass(frozen=True)
class Option:
    """One way to store a layer.

    Args:
        scheme: how the weight is stored.
        loss: what the model's output loses by it; measured losses below 0 are noise, taken as 0.
        nbytes: of the weight, including its scales.
    """

    scheme: Scheme
    loss: float
    nbytes: int


@dataclass(frozen=True)
class Allocation:
    """A scheme for every layer.

    Args:
        schemes: by layer name.
        loss: the sum of the chosen options' losses.
        nbytes: of the whole model, including the rest.
        met: whether the requested limit holds.
    """

    schemes: dict[str, Scheme]
    loss: float
    nbytes: int
    met: bool = True


@dataclass(frozen=True)
class _Unit:
    """Layers that share a scheme; the options hold their summed loss and size."""

    names: tuple[str, ...]
    options: tuple[Option, ...]


def allocate(
    options: Mapping[str, Sequence[Option]],
    *,
    max_bytes: int | None = None,
    max_loss: float | None = None,
    groups: Iterable[Sequence[str]] = (),
    keep: Mapping[str, str | Scheme] | None = None,
    rest_bytes: int = 0,
) -> Allocation:
    """Choose an option for every layer.

    Args:
        options: of each layer, by its name.
        max_bytes: of the whole model; the summed loss is minimised.
        max_loss: of all layers together; the size is minimised. Give one of the two.
        groups: names of layers that must share a scheme; groups that overlap become one.
        keep: pins layers to schemes, see `encoder.quant.allocate.match`.
        rest_bytes: what no choice changes: norms, biases, buffers, unsupported layers.

    Raises:
        InputError: both limits or none, no options, a loss that is not finite, an unknown name,
            or a pin or group without an option in common.

    Warns:
        BudgetWarning: the limit cannot be met; the allocation closest to it is returned.

    >>> layer = [Option(Scheme(4), 0.2, 50), Option(Scheme(8), 0.0, 100)]
    >>> chosen = allocate({"a": layer, "b": [Option(Scheme(4), 0.1, 50), layer[1]]}, max_bytes=150)
    >>> chosen.schemes["a"].name, chosen.schemes["b"].name, chosen.loss
    ('int8', 'int4', 0.1)
    """
    _check(options, max_bytes, max_loss)
    pins = pinned(options, keep or {})
    units = [_unit(names, options, pins) for names in _merge(options, groups)]
    limit = math.inf if max_bytes is None else max_bytes - rest_bytes
    loss_limit = math.inf if max_loss is None else max_loss
    smallest, best = _each(units, _by_size), _each(units, _by_loss)
    if sum(option.nbytes for option in smallest) > limit:
        assert max_bytes is not None
        message = _too_small(options, units, smallest, pins, max_bytes, rest_bytes)
        warnings.warn(message, BudgetWarning, stacklevel=2)
        return _allocation(units, smallest, rest_bytes, met=False)
    if sum(option.loss for option in best) > loss_limit:
        warnings.warn(_too_strict(units, best, loss_limit), BudgetWarning, stacklevel=2)
        return _allocation(units, best, rest_bytes, met=False)
    chosen = _solve(units, limit, loss_limit) or (smallest if max_bytes is not None else best)
    return _allocation(units, chosen, rest_bytes, met=True)


def _check(
    options: Mapping[str, Sequence[Option]], max_bytes: int | None, max_loss: float | None
) -> None:
    if (max_bytes is None) == (max_loss is None):
        raise InputError(
            "allocate",
            got=f"max_bytes={max_bytes}, max_loss={max_loss}",
            wanted="one of the two",
        )
    for name, choices in options.items():
        if not choices or not all(math.isfinite(option.loss) for option in choices):
            losses = {option.scheme.name: option.loss for option in choices}
            raise InputError(
                f"options[{name!r}]", got=f"{losses}", wanted="at least one option, finite losses"
            )


def _merge(names: Iterable[str], groups: Iterable[Sequence[str]]) -> list[tuple[str, ...]]:
    """Every name once, in order, together with all the names that it shares a group with."""
    together = {name: [name] for name in names}
    for group in groups:
        if unknown := [name for name in group if name not in together]:
            raise InputError("groups", got=f"{unknown}", wanted=f"layers of {list(together)}")
        lists = {id(together[name]): together[name] for name in group}
        merged = [name for group_names in lists.values() for name in group_names]
        together.update(dict.fromkeys(merged, merged))
    return [
        tuple(group_names)
        for group_names in {
            id(group_names): group_names for group_names in together.values()
        }.values()
    ]


def _unit(
    names: tuple[str, ...], options: Mapping[str, Sequence[Option]], pins: Mapping[str, Scheme]
) -> _Unit:
    by_scheme = [{option.scheme: option for option in options[name]} for name in names]
    common = [scheme for scheme in by_scheme[0] if all(scheme in each for each in by_scheme)]
    pinned_schemes = {pins[name] for name in names if name in pins}
    allowed = [scheme for scheme in common if pinned_schemes <= {scheme}]
    if not allowed:
        pinned_names = ", ".join(scheme.name for scheme in sorted(pinned_schemes, key=_by_width))
        raise InputError(
            "keep" if pinned_schemes else "groups",
            got=f"{pinned_names or 'no scheme'} for {', '.join(names)}",
            wanted=f"one scheme of {[scheme.name for scheme in common]}, which all of these offer",
        )
    summed = [
        Option(
            scheme,
            sum(max(0.0, each[scheme].loss) for each in by_scheme),
            sum(each[scheme].nbytes for each in by_scheme),
        )
        for scheme in allowed
    ]
    return _Unit(names, tuple(_undominated(summed)))


def _undominated(options: Sequence[Option]) -> list[Option]:
    """Drop options that are no better than a smaller one; sorted by size."""
    undominated: list[Option] = []
    for option in sorted(options, key=_by_size):
        if not undominated or option.loss < undominated[-1].loss:
            undominated.append(option)
    return undominated


def _by_size(option: Option) -> tuple[float, float]:
    return option.nbytes, option.loss


def _by_loss(option: Option) -> tuple[float, float]:
    return option.loss, option.nbytes


def _by_width(scheme: Scheme) -> tuple[int, int]:
    return scheme.bits, scheme.group or 0


def _each(units: Sequence[_Unit], key: Callable[[Option], tuple[float, float]]) -> list[Option]:
    return [min(unit.options, key=key) for unit in units]


def _solve(units: Sequence[_Unit], max_bytes: float, max_loss: float) -> list[Option] | None:
    """The optimum; a solution that only the solver's tolerances allow is retried, tighter."""
    slack = 0.0
    for _ in range(_ATTEMPTS):
        chosen = _milp(units, max_bytes * (1 - slack), max_loss * (1 - slack))
        if chosen is None:
            return None
        size, loss = sum(o.nbytes for o in chosen), sum(o.loss for o in chosen)
        if size <= max_bytes and loss <= max_loss:
            return chosen
        slack = 2 * max(slack, _TOLERANCE)
    return None


def _milp(units: Sequence[_Unit], max_bytes: float, max_loss: float) -> list[Option] | None:
    """One binary variable for each option; None if nothing was found."""
    import numpy as np
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array

    flat = [(index, option) for index, unit in enumerate(units) for option in unit.options]
    owners = [index for index, _ in flat]
    nbytes = np.array([option.nbytes for _, option in flat], dtype=float)
    losses = np.array([option.loss for _, option in flat])
    by_size = math.isfinite(max_bytes)
    minimized, limited, limit = (
        (losses, nbytes, max_bytes) if by_size else (nbytes, losses, max_loss)
    )
    costs = minimized * _COST_SCALE / (minimized.max() or 1)
    scale = max(limit, _SMALLEST_LIMIT)
    weights = np.minimum(limited / scale, 2)  # 2 is as far out of reach as anything larger
    with native_output_to_stderr():
        result = milp(
            costs,
            integrality=np.ones(len(flat)),
            bounds=Bounds(0, 1),
            constraints=[
                LinearConstraint(csr_array((np.ones(len(flat)), (owners, range(len(flat))))), 1, 1),
                LinearConstraint(weights[None], ub=limit / scale),
            ],
            # Before scipy 1.17.1 the presolve cuts the optimum off where a weight is near 1e-7.
            options={"mip_rel_gap": 0.0, "node_limit": _MAX_NODES, "presolve": False},
        )
    if result.x is None:
        return None
    best: dict[int, tuple[float, Option]] = {}
    for (index, option), value in zip(flat, result.x, strict=True):
        best[index] = max(best.get(index, (0.0, option)), (value, option), key=lambda pair: pair[0])
    return [best[index][1] for index in range(len(units))]


def _allocation(
    units: Sequence[_Unit], chosen: Sequence[Option], rest_bytes: int, *, met: bool
) -> Allocation:
    schemes = {
        name: option.scheme
        for unit, option in zip(units, chosen, strict=True)
        for name in unit.names
    }
    nbytes = rest_bytes + sum(option.nbytes for option in chosen)
    return Allocation(schemes, sum(option.loss for option in chosen), nbytes, met)


def _too_small(
    options: Mapping[str, Sequence[Option]],
    units: Sequence[_Unit],
    smallest: Sequence[Option],
    pins: Mapping[str, Scheme],
    max_bytes: int,
    rest_bytes: int,
) -> str:
    """Explain, with numbers, why a size cannot be reached."""
    fixed = {
        ", ".join(unit.names): option
        for unit, option in zip(units, smallest, strict=True)
        if pins.keys() & set(unit.names)
    }
    total = rest_bytes + sum(option.nbytes for option in smallest)
    free = total - rest_bytes - sum(option.nbytes for option in fixed.values())
    largest = sorted(fixed.items(), key=lambda item: -item[1].nbytes)
    parts = [f"{name} kept at {o.scheme.name} {_mb(o.nbytes)}" for name, o in largest[:_SHOWN]]
    if hidden := [option.nbytes for _, option in largest[_SHOWN:]]:
        parts.append(f"{len(hidden)} more that are kept {_mb(sum(hidden))}")
    if free:
        parts.append(f"the other layers at their smallest {_mb(free)}")
    parts.append(f"what is not quantized {_mb(rest_bytes)}")
    return (
        f"{_mb(max_bytes)} cannot be met: {' + '.join(parts)} = {_mb(total)}. "
        f"{_cap(options, fixed, total, rest_bytes)}The smallest allocation is used."
    )


def _cap(
    options: Mapping[str, Sequence[Option]],
    fixed: Mapping[str, Option],
    total: int,
    rest_bytes: int,
) -> str:
    """State the best ratio to FP32 still possible; empty if not known for every layer."""
    fp32 = [o.nbytes for choices in options.values() for o in choices if o.scheme == FP32]
    if len(fp32) < len(options):
        return ""
    offered = sorted(
        {option.scheme for choices in options.values() for option in choices}, key=_by_width
    )
    names = ", ".join(scheme.name for scheme in offered)
    cause = ", ".join(f"{name} at {option.scheme.name}" for name, option in fixed.items())
    if len(fixed) > _SHOWN:
        cause = f"keeping {len(fixed)} layers"
    ratio = (rest_bytes + sum(fp32)) / total
    return f"{cause + ' with ' if cause else ''}{{{names}}} caps this model at {ratio:.1f}×. "


def _too_strict(units: Sequence[_Unit], best: Sequence[Option], max_loss: float) -> str:
    worst = sorted(zip(units, best, strict=True), key=lambda pair: -pair[1].loss)[:3]
    parts = [f"{', '.join(unit.names)} at {o.scheme.name} {o.loss:.2g}" for unit, o in worst]
    total = sum(option.loss for option in best)
    return (
        f"A loss of {max_loss:.2g} cannot be met: the least is {total:.2g} ({'; '.join(parts)}). "
        "The most exact allocation is used."
    )


def _mb(nbytes: int) -> str:
    return f"{nbytes / 1e6:.3g} MB" if nbytes >= 100_000 else f"{nbytes} bytes"


def match(pattern: str, names: Iterable[str]) -> list[str]:
    """The layers that ``pattern`` matches.

    It is read as the first of these that matches any layer: the layer's whole name; a module that
    holds it; the last part or parts of its name; a shell pattern over the whole name.

    Raises:
        InputError: it matches none; similar names are listed.

    >>> names = ["conv1", "layer1.0.conv1", "layer1.0.conv2", "fc"]
    >>> match("conv1", names), match("layer1", names), match("*.conv*", names)
    (['conv1'], ['layer1.0.conv1', 'layer1.0.conv2'], ['layer1.0.conv1', 'layer1.0.conv2'])
    """
    names = list(names)
    readings = (
        [name for name in names if name == pattern],
        [name for name in names if name.startswith(f"{pattern}.")],
        [name for name in names if name.endswith(f".{pattern}")],
        [name for name in names if fnmatchcase(name, pattern)],
    )
    matches = next((reading for reading in readings if reading), None)
    if matches is None:
        raise InputError("layer", got=repr(pattern), wanted=_near(pattern, names))
    return matches


def pinned(names: Iterable[str], keep: Mapping[str, str | Scheme]) -> dict[str, Scheme]:
    """The scheme of each layer that a pattern of ``keep`` matches; later patterns override.

    Raises:
        InputError: a pattern matches no layer, or a scheme is not known.

    >>> pins = pinned(["body.0", "head"], {"*": "int4", "head": "fp16"})
    >>> {name: scheme.name for name, scheme in pins.items()}
    {'body.0': 'int4', 'head': 'fp16'}
    """
    names = list(names)
    return {
        name: Scheme.parse(scheme)
        for pattern, scheme in keep.items()
        for name in match(pattern, names)
    }


def _near(pattern: str, names: list[str]) -> str:
    """A phrase with the names most similar to ``pattern``, or the first few."""
    by_part = {end: name for name in reversed(names) for end in (name, name.split(".")[-1])}
    near = dict.fromkeys(by_part[end] for end in get_close_matches(pattern, by_part, 5, 0.5))
    if near:
        return f"a layer's name or pattern; similar names are {', '.join(near)}"
    ellipsis = ", …" if len(names) > 8 else ""
    return f"a layer's name or pattern; there are {', '.join(names[:8])}{ellipsis}"


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
        parent, _, leaf = name.rpartition(".")
        siblings[parent][leaf] = name
    return [
        tuple(name for leaf, name in children.items() if leaf in qkv)
        for children in siblings.values()
        for qkv in _QKV
        if qkv <= children.keys()
    ]


@contextmanager
def native_output_to_stderr() -> Iterator[None]:
    """Send everything written to standard output to standard error.

    HiGHS (in scipy 1.17) prints a debug line now and then, whatever its options, and a command's
    output must stay JSON. This redirects the whole process, so keep the block short.
    """
    sys.stdout.flush()
    stdout_copy = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        # C's buffers must be flushed before standard output is restored
        ctypes.CDLL(None).fflush(None)
        os.dup2(stdout_copy, 1)
        os.close(stdout_copy)

from __future__ import annotations

import itertools
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoder.quant.allocate import BudgetWarning, Option, allocate
from encoder.quant.schemes import FP16, FP32, INT3, INT4, INT8, Scheme

Options = dict[str, list[Option]]
SCHEMES = [INT3, INT4, Scheme(4, 64), INT8, FP16, FP32]
losses = st.one_of(
    st.floats(-1e-6, 1, allow_subnormal=False), st.sampled_from([0.0, 1e-9, 1e-6, 1e-3, 0.5])
)
sizes = st.integers(1, 3000)


@st.composite
def problems(draw: st.DrawFn) -> Options:
    names = [f"layer{index}" for index in range(draw(st.integers(1, 5)))]
    offered = draw(st.lists(st.sampled_from(SCHEMES), min_size=1, max_size=4, unique=True))
    return {
        name: [Option(scheme, draw(losses), draw(sizes)) for scheme in offered] for name in names
    }


def every(options: Options) -> list[tuple[dict[str, Scheme], float, int]]:
    """All possible allocations: schemes, loss, size."""
    return [
        (
            dict(zip(options, (option.scheme for option in choice), strict=True)),
            sum(max(0.0, option.loss) for option in choice),
            sum(option.nbytes for option in choice),
        )
        for choice in itertools.product(*options.values())
    ]


@settings(max_examples=60)
@given(problems(), st.floats(0, 1))
def test_no_allocation_within_the_size_loses_less(options: Options, tightness: float) -> None:
    found = every(options)
    smallest, largest = min(size for *_, size in found), max(size for *_, size in found)
    max_bytes = smallest + int(tightness * (largest - smallest))
    chosen = allocate(options, max_bytes=max_bytes)
    assert chosen.met
    assert chosen.nbytes <= max_bytes
    assert chosen.loss == pytest.approx(
        min(loss for _, loss, size in found if size <= max_bytes), rel=1e-9, abs=1e-9
    )


@settings(max_examples=60)
@given(problems(), st.floats(0, 1))
def test_no_allocation_within_the_loss_is_smaller(options: Options, tightness: float) -> None:
    found = every(options)
    least, most = min(loss for _, loss, _ in found), max(loss for _, loss, _ in found)
    max_loss = least + tightness * (most - least)
    chosen = allocate(options, max_loss=max_loss)
    assert chosen.loss <= max_loss
    smallest = min(size for _, loss, size in found if loss <= max_loss)
    # a loss within the solver's tolerance of the limit may be passed over
    safe = [size for _, loss, size in found if loss <= max_loss * (1 - 1e-5)]
    nearly = min(safe, default=max(size for *_, size in found))
    assert smallest <= chosen.nbytes <= nearly


@settings(max_examples=60)
@given(problems(), st.data())
def test_groups_share_a_scheme_and_pins_hold(options: Options, data: st.DataObject) -> None:
    names = list(options)
    group = data.draw(st.lists(st.sampled_from(names), unique=True, min_size=1))
    pinned = data.draw(st.sampled_from(names))
    scheme = data.draw(st.sampled_from(options[pinned])).scheme
    max_bytes = data.draw(st.integers(1, 10_000))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BudgetWarning)
        chosen = allocate(options, max_bytes=max_bytes, groups=[group], keep={pinned: scheme})
    allowed = [
        (loss, size)
        for schemes, loss, size in every(options)
        if schemes[pinned] == scheme and len({schemes[name] for name in group}) == 1
    ]
    assert chosen.schemes[pinned] == scheme
    assert len({chosen.schemes[name] for name in group}) == 1
    assert chosen.met == any(size <= max_bytes for _, size in allowed)
    if chosen.met:
        assert chosen.nbytes <= max_bytes
        best = min(loss for loss, size in allowed if size <= max_bytes)
        assert chosen.loss == pytest.approx(best, rel=1e-9, abs=1e-9)
    else:
        assert chosen.nbytes == min(size for _, size in allowed)

"""What merging tokens keeps, whatever the tokens are."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import onnx
import onnxruntime
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from encoder.onnx.graph import Graph
from encoder.onnx.merge_tokens import MergeStep

_DIM = 6
_INPUTS = {
    "states": ("f4", ("n", "l", _DIM)), "sizes": ("f4", ("n", "l")), "floor": ("i8", ("n",)),
    "protection": ("f4", ("n", "l")), "threshold": ("f4", ()),
}  # fmt: skip


class Tokens(NamedTuple):
    """States [n, length, d], sizes [n, length], and protection, padded on the right."""

    states: torch.Tensor
    sizes: torch.Tensor
    protection: torch.Tensor


@cache
def session(later_only: bool) -> onnxruntime.InferenceSession:
    graph = Graph()
    step = MergeStep(graph, "sizes", "protection", later_only=later_only)
    merged = step.merge("states", _DIM, "floor", "threshold")
    origins = graph.add("Cast", step.origins, to=onnx.TensorProto.FLOAT)
    outputs = {"a": merged, "b": step.sizes, "c": step._protection, "d": origins}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "merge.onnx"
        graph.save(path, _INPUTS, {name: (value, ()) for name, value in outputs.items()})
        proto = onnx.load(path)
    for output in proto.graph.output:
        output.type.tensor_type.ClearField("shape")
    return onnxruntime.InferenceSession(proto.SerializeToString())


def run(tokens: Tokens, floor: torch.Tensor, threshold: float, later_only: bool = False) -> list:
    given = {**tokens._asdict(), "floor": floor, "threshold": torch.tensor(threshold)}
    outputs = session(later_only).run(None, {name: value.numpy() for name, value in given.items()})
    return [torch.from_numpy(output) for output in outputs]


def merge_tokens(tokens: Tokens, floor: torch.Tensor, threshold: float) -> Tokens:
    return Tokens(*run(tokens, floor, threshold)[:3])


@st.composite
def batches(draw: st.DrawFn) -> tuple[Tokens, torch.Tensor, float]:
    """Random tokens, a floor and a threshold that lets none, some or all of them merge."""
    counts = draw(st.lists(st.integers(2, 23), min_size=1, max_size=4))
    length = (max(counts) + 1) // 2 * 2
    random = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    # around one direction, so that similarities are high, and never tied
    spread = draw(st.sampled_from([0.5, 2.0, 10.0]))
    states = torch.randn(len(counts), length, _DIM, generator=random) * spread + 3
    real = (torch.arange(length) < torch.tensor(counts)[:, None]).float()
    sizes = torch.randint(1, 4, real.shape, generator=random) * real
    protection = torch.rand(real.shape, generator=random) * draw(st.sampled_from([0.0, 0.1])) * real
    floor = torch.tensor([draw(st.integers(1, count)) for count in counts])
    return Tokens(states, sizes, protection), floor, draw(st.floats(0.0, 1.0))


def row(tokens: Tokens, i: int) -> Tokens:
    """One row without its padding, except what makes the length even."""
    count = int((tokens.sizes[i] > 0).sum())
    even = (count + 1) // 2 * 2
    return Tokens(*(part[i : i + 1, :even] for part in tokens))


@settings(max_examples=40)
@given(batches())
def test_mass_is_conserved(case: tuple[Tokens, torch.Tensor, float]) -> None:
    tokens, floor, threshold = case
    merged = merge_tokens(tokens, floor, threshold)
    assert torch.equal(merged.sizes.sum(1), tokens.sizes.sum(1))
    before = (tokens.states * tokens.sizes[:, :, None]).sum(1)
    after = (merged.states * merged.sizes[:, :, None]).sum(1)
    assert torch.allclose(before, after, rtol=1e-4, atol=1e-4)


@settings(max_examples=40)
@given(batches())
def test_order_is_kept_and_rows_are_compact(case: tuple[Tokens, torch.Tensor, float]) -> None:
    tokens, floor, threshold = case
    merged = merge_tokens(tokens, floor, threshold)
    for i in range(len(floor)):
        alive = merged.sizes[i] > 0
        assert (alive[:-1] | ~alive[1:]).all()
        # states are random: equal ones are the same token, with nothing merged into it
        same = torch.cdist(merged.states[i, alive], tokens.states[i]) < 1e-5
        assert (same.float().argmax(1)[same.any(1)].diff() > 0).all()


@settings(max_examples=40)
@given(batches())
def test_floor_holds(case: tuple[Tokens, torch.Tensor, float]) -> None:
    tokens, floor, threshold = case
    merged = merge_tokens(tokens, floor, threshold)
    assert ((merged.sizes > 0).sum(1) >= floor).all()


@settings(max_examples=40)
@given(batches())
def test_first_takes_nothing_and_last_is_not_taken(
    case: tuple[Tokens, torch.Tensor, float],
) -> None:
    tokens, floor, threshold = case
    merged = merge_tokens(tokens, floor, threshold)
    assert torch.equal(merged.sizes[:, 0], tokens.sizes[:, 0])
    assert torch.allclose(merged.states[:, 0], tokens.states[:, 0])
    for i in range(len(floor)):
        last, new_last = ((part.sizes[i] > 0).sum() - 1 for part in (tokens, merged))
        if last % 2:
            assert torch.allclose(merged.states[i, new_last], tokens.states[i, last], atol=1e-5)
        assert merged.sizes[i, new_last] >= tokens.sizes[i, last]


@settings(max_examples=40)
@given(batches())
def test_a_row_does_not_depend_on_its_batch(case: tuple[Tokens, torch.Tensor, float]) -> None:
    tokens, floor, threshold = case
    together = merge_tokens(tokens, floor, threshold)
    for i in range(len(floor)):
        alone = merge_tokens(row(tokens, i), floor[i : i + 1], threshold)
        here = row(together, i)
        assert torch.equal(alone.sizes, here.sizes)
        real = alone.sizes[0] > 0
        assert torch.allclose(alone.states[0, real], here.states[0, real], atol=1e-5)
        assert torch.equal(alone.protection, here.protection)


@settings(max_examples=40)
@given(batches())
def test_padding_changes_nothing(case: tuple[Tokens, torch.Tensor, float]) -> None:
    tokens, floor, threshold = case
    n, _, d = tokens.states.shape
    noise, zeros = torch.full((n, 4, d), 7.0), torch.zeros(n, 4)
    padded = Tokens(
        torch.cat([tokens.states, noise], 1),
        torch.cat([tokens.sizes, zeros], 1),
        torch.cat([tokens.protection, zeros], 1),
    )
    plain, wide = (merge_tokens(t, floor, threshold) for t in (tokens, padded))
    assert torch.equal(plain.sizes, wide.sizes)
    real = plain.sizes > 0
    assert torch.allclose(plain.states[real], wide.states[real], atol=1e-5)


@settings(max_examples=40)
@given(batches())
def test_nothing_merges_above_every_similarity(case: tuple[Tokens, torch.Tensor, float]) -> None:
    tokens, floor, _ = case
    merged = merge_tokens(tokens, floor, 1.1)
    length = merged.sizes.shape[1]
    assert torch.equal(merged.sizes, tokens.sizes[:, :length])
    real = merged.sizes > 0
    assert torch.allclose(merged.states[real], tokens.states[:, :length][real], rtol=1e-6)


@settings(max_examples=40)
@given(batches())
def test_causal_networks_merge_into_later_tokens_only(
    case: tuple[Tokens, torch.Tensor, float],
) -> None:
    tokens, floor, threshold = case
    states, sizes, _, origins = run(tokens, floor, threshold, later_only=True)
    for i in range(len(floor)):
        real = sizes[i] > 0
        places = origins[i, real].long()
        # every token that is left stands where it stood, and took in only what came before it
        assert (places.diff() > 0).all()
        assert (sizes[i, real].cumsum(0) <= tokens.sizes[i].cumsum(0)[places]).all()
        unmerged = sizes[i, real] == tokens.sizes[i, places]
        assert torch.allclose(
            states[i, real][unmerged], tokens.states[i, places][unmerged], atol=1e-5
        )

"""Splitting calibration data, calling models, comparing outputs."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from encoder.errors import InputError, ModelError
from encoder.quant.calibration import (
    CalibrationData,
    batch_items,
    cosine_loss,
    divergence,
    halves,
    kl_divergence,
    run,
    tensor_of,
)


def test_every_second_batch_judges() -> None:
    data = CalibrationData.split([torch.full((1,), float(i)) for i in range(5)])
    assert [batch.item() for batch in data.fit] == [0, 2, 4]
    assert [batch.item() for batch in data.score] == [1, 3]


def test_a_tensor_is_cut_into_batches() -> None:
    data = CalibrationData.split(torch.arange(6))
    assert [batch.tolist() for batch in [*data.fit, *data.score]] == [[0, 1, 2], [3, 4, 5]]


def test_one_batch_is_cut_in_two() -> None:
    batch = {"ids": torch.arange(4), "flag": True, "pair": (torch.arange(4), None)}
    data = CalibrationData.split([batch])
    (fit,), (score,) = data.fit, data.score
    assert (fit["ids"].tolist(), score["ids"].tolist()) == ([0, 1], [2, 3])
    assert score["pair"][0].tolist() == [2, 3]
    assert batch_items(batch) == 4
    assert batch_items({"features": {"flag": True, "ids": torch.ones(3, 2)}}) == 3
    assert halves(torch.ones(1)) == [torch.ones(1)]


@pytest.mark.parametrize("data", [[], [torch.ones(1)], torch.ones(1)])
def test_too_little_data_is_refused(data: Any) -> None:
    with pytest.raises(InputError, match="at least two"):
        CalibrationData.split(data)


class Gives(nn.Module):
    """Wraps its input."""

    def __init__(self, wrap: Any) -> None:
        super().__init__()
        self.wrap = wrap

    def forward(self, x: Tensor) -> Any:
        return self.wrap(x)


@pytest.mark.parametrize("batch", [torch.ones(2), (torch.ones(2),), {"x": torch.ones(2)}])
def test_a_batch_is_passed_as_it_is_given(batch: Any) -> None:
    assert torch.equal(run(Gives(lambda x: (x, None)), batch), torch.ones(2))


def test_a_failing_forward_names_the_batch() -> None:
    for batch in (torch.ones(2, 3), (torch.ones(2, 3),)):
        with pytest.raises(ModelError, match=r"Linear fails .*\(float32 \[2, 3\]\)"):
            run(nn.Linear(4, 4), batch)
    with pytest.raises(ModelError, match=r"\(input: float32 \[2, 3\]\)"):
        run(nn.Linear(4, 4), {"input": torch.ones(2, 3)})
    with pytest.raises(ModelError, match="returned str, not a tensor"):
        run(Gives(lambda _: "text"), torch.ones(2))


def test_divergences() -> None:
    logits = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 5.0]])
    other = torch.tensor([[3.0, 2.0, 1.0], [0.0, 0.0, 5.0]])
    p, q = logits.softmax(1), other.softmax(1)
    torch.testing.assert_close(kl_divergence(logits, other), (p * (p / q).log()).sum(1))
    assert divergence("kl", logits, logits + 7).item() == pytest.approx(0, abs=1e-6)
    assert divergence("cosine", logits, 3 * logits).item() == pytest.approx(0, abs=1e-6)
    assert cosine_loss(logits, -logits).tolist() == pytest.approx([2, 2])


A, B, C = torch.ones(2, 4), torch.zeros(3, 4), torch.ones(2, 6)


@dataclass
class Output:
    logits_per_image: Tensor
    text_embeds: Tensor
    image_embeds: Tensor


class Named(NamedTuple):
    boxes: Tensor
    scores: Tensor


CASES: dict[str, tuple[Any, Tensor]] = {
    "tensor": (A, A),
    "tuple": ((A, (B, C)), A),
    "logits": ({"other": A, "logits": B}, B),
    "sentence": ({"token_embeddings": A, "input_ids": A.long(), "sentence_embedding": B}, B),
    "two towers": (Output(C, A, B), torch.cat([A, B])),
    "pooled": ({"last_hidden_state": A, "pooler_output": C}, C),
    "one name": ({"out": A}, A),
    "attributes": (SimpleNamespace(logits=B, other=A), B),
    "no logits": (SimpleNamespace(logits=None, pooler_output=B), B),
    "nested": ({"features": (A, B)}, A),
}


@pytest.mark.parametrize("name", CASES)
def test_what_counts(name: str) -> None:
    output, wanted = CASES[name]
    assert torch.equal(tensor_of(output), wanted)


def test_vectors_of_other_lengths_are_joined_at_unit_length() -> None:
    for output in (Named(A, C), {"boxes": A, "scores": C}):
        joined = tensor_of(output)
        assert joined.shape == (2, 10)
        assert joined.norm(dim=1).tolist() == pytest.approx([2**0.5] * 2)


@pytest.mark.parametrize("output", [None, {}, [], {"name": "x"}])
def test_no_tensor_at_all(output: Any) -> None:
    with pytest.raises(ModelError, match="not a tensor"):
        tensor_of(output)

"""Which part is compared in outputs of several forms."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from encoder.errors import ModelError
from encoder.quant.calibration import tensor_of

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

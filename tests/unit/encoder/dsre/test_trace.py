"""Where tokens go, against the forward that merges them."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
import torch

from encoder.dsre.gatefile import GateFile
from encoder.dsre.merge import Tokens, combine, destinations
from encoder.dsre.network import SparseEncoder
from encoder.dsre.settings import GateSettings
from encoder.dsre.trace import trace
from encoder.networks.bert import BertSize, SentenceBert

SIZE = BertSize(vocab_size=300, hidden_dim=32, ffn_dim=64, n_layers=4, n_heads=4)


@pytest.fixture(scope="module")
def dense() -> SentenceBert:
    torch.manual_seed(0)
    return SentenceBert(SIZE).eval()


def gate(*thresholds: float | None) -> GateFile:
    return GateFile(np.zeros(300, np.uint8), GateSettings(thresholds, min_tokens=10))


def test_destinations_add_up_what_combine_adds_up() -> None:
    random = torch.Generator().manual_seed(0)
    states = torch.randn(2, 8, 3, generator=random)
    sizes = torch.tensor([[1.0, 2, 1, 3, 1, 1, 2, 1], [1.0, 1, 1, 1, 1, 0, 0, 0]])
    merged = torch.tensor([[True, False, True, False], [False, True, False, False]])
    partner = torch.tensor([[1, 0, 3, 0], [0, 2, 0, 0]])
    after = combine(Tokens(states, sizes, torch.zeros(2, 8)), merged, partner)
    goes = destinations(sizes, merged, partner)
    summed = torch.zeros_like(after.sizes)
    for row in range(2):
        for token in range(int((sizes[row] > 0).sum())):
            summed[row, goes[row, token]] += sizes[row, token]
    assert torch.equal(summed, after.sizes)
    assert goes[0].tolist() == [0, 1, 1, 2, 3, 4, 4, 5]


def test_tokens_of_one_place_are_those_that_the_forward_joins(dense: SentenceBert) -> None:
    ids = torch.randint(3, 300, (1, 60), generator=torch.Generator().manual_seed(1))
    setting = gate(None, 0.5, None, 0.4)
    places = trace(dense, setting, ids[0].tolist())
    with torch.inference_mode():
        _, kept = SparseEncoder(dense, setting).eval()(ids, torch.ones(ids.shape))
    assert [len(set(row)) for row in places.tolist()] == kept[0].tolist()
    assert kept[0, -1] < kept[0, 1] < 60
    assert (places[0] == np.arange(60)).all()
    assert np.array_equal(places[1], places[2])
    # merged tokens stay merged
    for before, after in itertools.pairwise(places):
        pairs = Counter(zip(before.tolist(), after.tolist(), strict=True))
        assert len(pairs) == len(set(before.tolist()))


def test_a_short_text_stays_as_it_is(dense: SentenceBert) -> None:
    places = trace(dense, gate(0.1, 0.1, 0.1, 0.1), [5, 6, 7, 8, 9])
    assert (places == np.arange(5)).all()

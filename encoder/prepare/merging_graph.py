"""A sentence encoder that merges tokens, as a graph; of any architecture that `blocks_of` knows.

The lengths after a gate depend on the texts. Exporters can follow that only where nothing else has
to be guessed: so the tokens come in pairs, which makes their number even, and every gate compares.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from encoder.dsre.merge import Tokens, merge_tokens
from encoder.dsre.network import SparseEncoder
from encoder.prepare.hub.graphs import Features, TracedNetwork
from encoder.prepare.hub.text import TEXTS
from encoder.towers.exported import INPUTS, OUTPUTS
from encoder.types import TEXT

if TYPE_CHECKING:
    from encoder.dsre.gatefile import GateFile
    from encoder.towers.gated import TextNetwork
    from encoder.towers.hub import JointEncoder

_LONGER = 16
"""How many more tokens the traced texts have than the gate's shortest length."""


def merging_network(
    joint: JointEncoder, network: TextNetwork, gate: GateFile
) -> tuple[TracedNetwork, SparseEncoder]:
    """The network to export, with texts to trace it with; and its encoder, which knows its shape.

    Raises:
        ModelError: the gate was made for another network.
    """
    encoder = _Always(network.transformer, gate, pooling=network.pooling).eval()
    features = _features(joint, gate.settings.min_tokens + _LONGER)
    half = {name: value[:1, : value.shape[1] // 2] for name, value in features.items()}
    module = _Merging(encoder, list(network.rest)).eval()
    axes = dict.fromkeys(INPUTS, (0, 1))
    return TracedNetwork(module, features, axes, (half,), OUTPUTS), encoder


class _Always(SparseEncoder):
    """Always compares, since a graph cannot branch on the texts."""

    def _merge(self, tokens: Tokens, floor: Tensor, threshold: float, active: Tensor) -> Tokens:  # noqa: ARG002
        return merge_tokens(tokens, floor, threshold, self.blocks.matching)


class _Merging(nn.Module):
    """Takes `INPUTS`, gives `OUTPUTS`."""

    def __init__(self, encoder: SparseEncoder, modules_after: list[nn.Module]) -> None:
        super().__init__()
        self.encoder = encoder
        self.rest = nn.ModuleList(modules_after)

    def forward(self, features: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        pooled, n_left = self.encoder.run(*(features[name].flatten(1) for name in INPUTS))
        features_of_text: dict[str, Any] = {"sentence_embedding": pooled}
        for module in self.rest:
            features_of_text = module(features_of_text)
        return features_of_text["sentence_embedding"], n_left


def _features(joint: JointEncoder, n_tokens: int) -> Features:
    """Two texts of about ``n_tokens``, or of as many as the window takes."""
    again = -(-n_tokens // len(TEXTS))  # each is longer than a token
    texts = [" ".join(some * again) for some in (TEXTS, TEXTS[::-1])]
    every = [joint.features(joint.inputs(TEXT, [text]), "")["input_ids"] for text in texts]
    length = min(n_tokens, *(ids.shape[1] for ids in every)) // 2 * 2
    ids = torch.cat([tokens[:, :length] for tokens in every]).reshape(2, length // 2, 2)
    return dict(zip(INPUTS, (ids, torch.ones(ids.shape)), strict=True))

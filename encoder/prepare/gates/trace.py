"""Which tokens of a text a model's gate merges, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoder.dsre.cost import dense_flops, sparse_flops
from encoder.dsre.gatefile import GateFile
from encoder.errors import ModelError
from encoder.models.bundle.declaration import read_bundle
from encoder.models.sparsity import gate_from
from encoder.models.spec import ModelSpec
from encoder.prepare.gates.own import own_gate
from encoder.prepare.gates.subjects import open_subject
from encoder.system.extras import require


@dataclass(frozen=True, eq=False)
class TextTrace:
    """What a gate did to a text.

    Args:
        tokens: word pieces of the text's first window.
        places: after each layer, the place of what each token has become, int64
            [n_layers, n_tokens]; tokens with the same place have become one.
        flops_ratio: of the dense network over the sparse one.
        min_tokens: shorter texts run dense.
    """

    tokens: list[str]
    places: NDArray[np.int64]
    flops_ratio: float
    min_tokens: int

    @property
    def kept(self) -> list[int]:
        """How many tokens are left after each layer."""
        return [len(set(row)) for row in self.places.tolist()]

    def groups(self, layer: int) -> list[list[int]]:
        """The groups of tokens that are one after a layer, by their places in the text."""
        of_place: dict[int, list[int]] = {}
        for token, position in enumerate(self.places[layer].tolist()):
            of_place.setdefault(position, []).append(token)
        return [group for group in of_place.values() if len(group) > 1]


def trace_text(model: str, text: str, gate: str | None = None) -> TextTrace:
    """Follow the tokens of a text's first window.

    Args:
        model: see `encoder.prepare.gates.fit.calibrate_text`.
        text: not empty.
        gate: a gate file; None for the one that ``enable_dsre=True`` takes, which is fitted to a
            hub model if it has none yet.

    Raises:
        ModelError: the model takes no gate or has none, or the gate was made for another model.
    """
    require("Tracing a gate", "torch")
    from encoder.dsre.network import SparseEncoder
    from encoder.dsre.trace import trace

    chosen = gate_from(gate) if gate else _gate_of(ModelSpec.parse(model))
    subject = open_subject(model)
    (ids,) = subject.tokenize([text])
    places = trace(subject.dense, chosen, ids)
    n_left = [[len(set(row)) for row in places.tolist()]]
    network = SparseEncoder(subject.dense, chosen, pooling=subject.pooling)
    gated = [threshold is not None for threshold in chosen.settings.thresholds]
    is_short = len(ids) < chosen.settings.min_tokens
    dense = dense_flops(network.blocks.shape, [len(ids)])
    sparse = sparse_flops(
        network.blocks.shape, [len(ids)], n_left, gated=gated, cls_only=network.cls_only
    )
    ratio = 1.0 if is_short else float((dense / sparse)[0])
    return TextTrace(subject.pieces(ids), places, ratio, chosen.settings.min_tokens)


def _gate_of(spec: ModelSpec) -> GateFile:
    if spec.kind != "bundle":
        return own_gate(spec)

    path: Path | None = read_bundle(spec.name).parts["text"].gates.get("text")
    if path is None:
        raise ModelError(
            f"{spec} has no gate.",
            remedy="Pass one made by `anymodal models gate calibrate` with --gate.",
        )
    return GateFile.load(path)

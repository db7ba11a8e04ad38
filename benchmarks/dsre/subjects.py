"""Networks and texts of the benchmark: dense and sparse, as torch, ONNX float32 and int8."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.corpora.debian_packages import pairs
from encoder.dsre.fitting.documents import Document
from encoder.dsre.gatefile import GateFile
from encoder.models.bundle.declaration import TEXT_GATE, read_bundle
from encoder.models.sparsity import SPARSE_FLOAT, SPARSE_INT8, build
from encoder.prepare.bundle.fetch import fetch
from encoder.runtime.onnx import OnnxSession
from encoder.towers.text import load_tokenizer, pad
from tests.support.manuals import documented

if TYPE_CHECKING:
    from torch import nn

    from encoder.networks.bert import SentenceBert

MAX_TOKENS = 512
EAGER, BF16, SPARSE_EAGER = "dense eager fp32", "dense eager bf16", "sparse eager fp32"
DENSE, DENSE8 = "dense ONNX fp32", "dense ONNX int8"
SPARSE, SPARSE8 = "sparse ONNX fp32", "sparse ONNX int8"
LIBRARIES = ("scipy", "librosa")

Ids = NDArray[np.int64]
Inputs = dict[str, NDArray[Any]]
Run = Callable[[Inputs], object]


def text_folder() -> Path:
    """MiniLM, from the English bundle."""
    return fetch(read_bundle("english")) / "text"


def shipped_gate() -> GateFile:
    """The bundle's gate."""
    return GateFile.load(TEXT_GATE)


def open_minilm(names: Sequence[str]) -> dict[str, OnnxSession]:
    """The bundle's networks on one thread; sparse ones are made if there are none."""
    folder, gate = text_folder(), shipped_gate()
    dense = {DENSE: folder / "model.onnx", DENSE8: folder / "model.int8.onnx"}
    sparse = {SPARSE: SPARSE_FLOAT, SPARSE8: SPARSE_INT8}
    return {
        name: OnnxSession(dense.get(name) or build(folder, gate, sparse[name]), n_threads=1)
        for name in names
    }


def eager(model: nn.Module) -> Run:
    """A run in torch, with the model's modules unchanged."""
    import torch

    dtype = next(model.parameters()).dtype

    def run(inputs: Inputs) -> object:
        input_ids, mask = (torch.from_numpy(inputs[name]) for name in ("input_ids", "mask"))
        with torch.inference_mode():
            return model(input_ids, mask.to(dtype))

    return run


def all_runs(
    model: SentenceBert, gate: GateFile, sessions: dict[str, OnnxSession]
) -> dict[str, Run]:
    """Every way to run a network, by name."""
    from copy import deepcopy

    from encoder.dsre.network import SparseEncoder

    runs: dict[str, Run] = {
        EAGER: eager(model),
        BF16: eager(deepcopy(model).bfloat16()),
        SPARSE_EAGER: eager(SparseEncoder(model, gate).eval()),
    }
    return runs | {name: session.run for name, session in sessions.items()}


def on(run: Run, inputs: Inputs) -> Callable[[], object]:
    """A run that needs no argument."""
    return partial(run, inputs)


def tokens(folder: Path, texts: Sequence[str], max_tokens: int = MAX_TOKENS) -> list[Ids]:
    """Token ids of each text, with the tokenizer of a model's folder."""
    tokenizer = load_tokenizer(folder / "tokenizer.json", max_tokens=max_tokens)
    return [np.asarray(one.ids, np.int64) for one in tokenizer.encode_batch(list(texts))]


def long_texts(folder: Path) -> list[Ids]:
    """SciPy's documentation of `MAX_TOKENS` tokens or more, cut at that length."""
    texts = [f"{one.title}\n{one.body}" for one in documented("scipy")]
    return [one for one in tokens(folder, texts) if len(one) == MAX_TOKENS]


def batch(texts: Sequence[Ids]) -> Inputs:
    """Padded inputs of a network."""
    input_ids, mask = pad(list(texts))
    return {"input_ids": input_ids, "mask": mask}


def held_out(folder: Path) -> tuple[list[Document], list[Document]]:
    """Texts that nothing was fitted to: manuals of two libraries, and packages ("test")."""
    packages = pairs(folder / "debian", "test")
    return documented(*LIBRARIES), [Document(one.title, one.body) for one in packages]

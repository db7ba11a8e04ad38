"""Networks and texts of the benchmark of the English gate: dense and sparse, in int8."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.corpora.debian_packages import pairs
from encoder.dsre.fitting.documents import Document
from encoder.dsre.gatefile import GateFile
from encoder.models.bundle.declaration import TEXT_GATE, read_bundle
from encoder.models.sparsity import SPARSE_INT8, build
from encoder.prepare.bundle.fetch import fetch
from encoder.runtime.onnx import OnnxSession
from encoder.towers.text import load_tokenizer
from tests.support.manuals import documented

MAX_TOKENS = 512
LIBRARIES = ("scipy", "librosa")

Ids = NDArray[np.int64]


def text_folder() -> Path:
    """MiniLM, from the English bundle."""
    return fetch(read_bundle("english")) / "text"


def shipped_gate() -> GateFile:
    """The bundle's gate."""
    return GateFile.load(TEXT_GATE)


def open_minilm() -> tuple[OnnxSession, OnnxSession]:
    """The bundle's network on one thread, dense and sparse."""
    folder = text_folder()
    files = folder / "model.int8.onnx", build(folder, shipped_gate(), SPARSE_INT8)
    dense, sparse = (OnnxSession(path, n_threads=1) for path in files)
    return dense, sparse


def tokens(folder: Path, texts: Sequence[str], max_tokens: int = MAX_TOKENS) -> list[Ids]:
    """Token ids of each text, with the tokenizer of a model's folder."""
    tokenizer = load_tokenizer(folder / "tokenizer.json", max_tokens=max_tokens)
    return [np.asarray(one.ids, np.int64) for one in tokenizer.encode_batch(list(texts))]


def held_out(folder: Path) -> tuple[list[Document], list[Document]]:
    """Texts that nothing was fitted to: manuals of two libraries, and packages ("test")."""
    packages = pairs(folder / "debian", "test")
    return documented(*LIBRARIES), [Document(one.title, one.body) for one in packages]

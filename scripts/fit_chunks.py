"""Fit what predicts embeddings from words: ``encoder/models/bundle/gates/chunks.npz``.

    python -m scripts.fit_chunks

It is fitted on windows of Python's manual and of the documentation of numpy and torch, which no
benchmark asks about. The text network runs in int8, dense.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoder.dsre.chunks import Predictor, word_means
from encoder.dsre.gatefile import GateFile
from encoder.models.bundle.declaration import CHUNKS, TEXT_GATE, read_bundle
from encoder.models.sparsity import word_vectors
from encoder.prepare.bundle.fetch import fetch
from encoder.runtime.onnx import OnnxSession
from encoder.space import l2_normalize
from encoder.towers.text import MAX_TOKENS, load_tokenizer
from encoder.towers.tokens import Ids, cut
from encoder.types import Embeddings
from scripts.manuals import documented, topics

_AT_LEAST = 300
_RIDGE = 1e-3
"""As a share of the mean variance of the features."""


def main() -> None:
    folder = fetch(read_bundle("english")) / "text"
    windows = windows_of([one.body for one in [*topics(), *documented("numpy", "torch")]])
    print(f"{len(windows)} windows")
    embeddings = embed(OnnxSession(folder / "model.int8.onnx"), windows)
    means = word_means(windows, word_vectors(folder), GateFile.load(TEXT_GATE).rarity)
    predictor = fit(means, embeddings)
    save(predictor, CHUNKS)
    told = (predictor.predict(means) * embeddings).sum(1).mean()
    print(f"{CHUNKS}: mean cosine {told:.3f} where it was fitted")


def windows_of(texts: list[str]) -> list[Ids]:
    """The windows of all texts that are longer than one."""
    tokenizer = load_tokenizer(
        fetch(read_bundle("english")) / "text" / "tokenizer.json", max_tokens=None
    )
    ids = (np.asarray(one.ids, np.int64) for one in tokenizer.encode_batch(texts))
    return [window for one in ids if len(one) > _AT_LEAST for window in cut(one, MAX_TOKENS)]


def embed(session: OnnxSession, windows: list[Ids]) -> Embeddings:
    """Unit rows [n, embed_dim]."""
    rows = [
        session.run({"input_ids": one[None], "mask": np.ones((1, len(one)), np.float32)})[0][0]
        for one in windows
    ]
    return l2_normalize(np.stack(rows))


def fit(means: NDArray[np.float32], embeddings: Embeddings) -> Predictor:
    """Fit by ridge regression (Hoerl & Kennard 1970).

    Args:
        means: see `word_means`, [n, d].
        embeddings: of the same texts, [n, embed_dim].
    """
    source, target = means.mean(0), embeddings.mean(0)
    features = (means - source).astype(np.float64)
    gram = features.T @ features
    gram += _RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
    matrix = np.linalg.solve(gram, features.T @ (embeddings - target))
    return Predictor(matrix.astype(np.float16), source, target)


def save(predictor: Predictor, path: Path) -> None:
    """Write what `Predictor.load` reads."""
    with path.open("wb") as file:
        np.savez_compressed(
            file, matrix=predictor.matrix, source=predictor.source, target=predictor.target
        )


if __name__ == "__main__":
    main()

"""Fit what predicts embeddings from words: ``encoder/models/bundle/gates/chunks.npz``.

    python -m scripts.fit_chunks

It is fitted on windows of Python's manual and of the documentation of numpy and torch, which no
benchmark asks about. The text network runs in int8, dense.
"""

from __future__ import annotations

import numpy as np

from encoder.dsre.chunks import fit, word_means
from encoder.dsre.gatefile import GateFile
from encoder.models.bundle.declaration import CHUNKS, TEXT_GATE, read_bundle
from encoder.models.sparsity import word_vectors
from encoder.prepare.bundle.fetch import fetch
from encoder.runtime.onnx import OnnxSession
from encoder.space import l2_normalize
from encoder.towers.text import MAX_TOKENS, load_tokenizer
from encoder.towers.tokens import Ids, cut
from encoder.types import Embeddings
from tests.support.manuals import documented, topics

_AT_LEAST = 300


def main() -> None:
    folder = fetch(read_bundle("english")) / "text"
    windows = windows_of([one.body for one in [*topics(), *documented("numpy", "torch")]])
    print(f"{len(windows)} windows")
    embeddings = embed(OnnxSession(folder / "model.int8.onnx"), windows)
    means = word_means(windows, word_vectors(folder), GateFile.load(TEXT_GATE).rarity)
    predictor = fit(means, embeddings)
    predictor.save(CHUNKS)
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


if __name__ == "__main__":
    main()

"""A small network and texts of numbers, to which gates are fitted in a second."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from encoder.dsre.fitting.documents import Document
from encoder.dsre.fitting.judge import Tokenize
from encoder.networks.bert import BertSize, SentenceBert

WORDS = 400


def network() -> SentenceBert:
    torch.manual_seed(0)
    size = BertSize(vocab_size=WORDS, hidden_dim=16, ffn_dim=32, n_layers=4, n_heads=2)
    return SentenceBert(size).eval()


def _tokenize(texts: list[str]) -> list[list[int]]:
    return [[1, *map(int, text.split()), 2] for text in texts]


TOKENIZE: Tokenize = _tokenize  # type: ignore[assignment]


def documents(n: int, is_long: Callable[[int], bool]) -> list[Document]:
    """Titles of words that the body repeats among common ones; some bodies are short."""
    rng = np.random.default_rng(0)

    def document(n_words: int) -> Document:
        own = rng.integers(50, WORDS, 8)
        body = rng.permutation([*rng.integers(10, 50, n_words), *np.repeat(own, 3)])
        return Document(" ".join(map(str, own)), " ".join(map(str, body)))

    return [document(40 if is_long(i) else 12) for i in range(n)]

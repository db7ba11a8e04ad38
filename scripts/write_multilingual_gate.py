"""Write the multilingual bundle's gate, ``encoder/models/bundle/gates/multilingual.npz``.

    python -m scripts.write_multilingual_gate

Nothing is trained: changes of weights that made up for merging in eleven layers lost more here than
they saved. How rare a token is comes from its tokenizer, so no language is preferred.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoder.dsre.gatefile import GateFile
from encoder.dsre.settings import GateSettings
from encoder.models.bundle.declaration import MULTILINGUAL_GATE, read_bundle
from encoder.prepare.bundle.fetch import fetch

SETTINGS = GateSettings(tuple(0.5 if layer in (4, 6, 8) else None for layer in range(1, 13)))
"""Chosen by questions in six languages, and judged by those in six others
(``benchmarks/tried.md``)."""


def rarity(folder: Path) -> NDArray[np.uint8]:
    """How rare each token is, by the log-probabilities of its tokenizer; uint8 [vocab_size]."""
    vocab = json.loads((folder / "tokenizer.json").read_text("utf-8"))["model"]["vocab"]
    scores = np.array([score for _, score in vocab])
    rarities: NDArray[np.uint8] = np.round(255 * scores / scores.min()).astype(np.uint8)
    size = json.loads((folder / "config.json").read_text("utf-8"))["vocab_size"]
    return np.pad(rarities, (0, size - len(rarities)), constant_values=255)


def main() -> None:
    folder = fetch(read_bundle("multilingual")) / "text"
    GateFile(rarity(folder), SETTINGS).save(MULTILINGUAL_GATE)


if __name__ == "__main__":
    main()

"""Gates in the package, made by ``scripts``: ``distill_text_gate.py``,
``distill_multilingual_gate.py`` and ``fit_chunks.py``."""

from pathlib import Path

GATES = Path(__file__).parent

TEXT_GATE = GATES / "text.npz"
"""For MiniLM."""

MULTILINGUAL_GATE = GATES / "multilingual.npz"
"""For multilingual-e5-small."""

CHUNKS = GATES / "chunks.npz"
"""Predicts embeddings of MiniLM from words."""

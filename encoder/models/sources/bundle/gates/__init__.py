"""Gates that come with the package, by ``scripts/distill_text_gate.py`` and ``fit_chunks.py``."""

from pathlib import Path

TEXT_GATE = Path(__file__).parent / "text.npz"
"""For the bundle's text network."""

CHUNKS = Path(__file__).parent / "chunks.npz"
"""What predicts embeddings of the bundle's text network from words."""

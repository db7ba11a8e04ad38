"""Gates that come with the package, fitted by ``scripts/fit_text_gate.py``."""

from pathlib import Path

TEXT_GATE = Path(__file__).parent / "text.npz"
"""For the bundle's text network."""

"""What determines the results of the bundles' networks in int8."""

from __future__ import annotations

import hashlib
from pathlib import Path

IMAGE_RANGES = Path(__file__).parent / "ranges" / "image.json"
"""Ranges of EfficientNet-Lite2's activations, made by ``scripts/fit_activation_ranges.py``."""

AUDIO_RANGES = Path(__file__).parent / "ranges" / "audio.json"
"""Ranges of aiSFX's activations, by the same script."""

AUDIO_FLOAT = ("blocks.0.conv1", "heads")
"""The parts of aiSFX that stay float: its first layer, of one channel, takes no time and loses most
in int8 (the mean cosine of a sound's embedding to float falls from .9997 to .9985); the classifiers
take no time either."""

TEXT_INT8_RECIPE = 2
"""Raise it when `encoder.onnx.int8_bert` computes different numbers."""


def text_identity() -> str:
    """What changes vectors in MiniLM's int8 network, for the space's fingerprint."""
    return f"text:{TEXT_INT8_RECIPE}"


def image_identity() -> str:
    """The same for EfficientNet-Lite2."""
    return f"image-ranges:{hashlib.sha256(IMAGE_RANGES.read_bytes()).hexdigest()[:16]}"


def audio_identity() -> str:
    """The same for aiSFX."""
    facts = " ".join(AUDIO_FLOAT).encode() + AUDIO_RANGES.read_bytes()
    return f"audio-ranges:{hashlib.sha256(facts).hexdigest()[:16]}"

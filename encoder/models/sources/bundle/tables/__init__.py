"""Tables that come with the package; each is made by a script."""

from pathlib import Path

TABLES = Path(__file__).parent

IMAGE_LABELS = TABLES / "image_labels.npz"
"""Classes of pictures in MiniLM's space, by ``scripts/build_image_labels.py``."""

SOUND_LABELS = TABLES / "sound_labels.npz"
"""Names of sounds in MiniLM's space, by ``scripts/build_sound_labels.py``."""

"""Video: its frames and its sound track, each through its own tower, then pooled."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from encoder.media.video import load_clip
from encoder.space import l2_normalize
from encoder.types import AUDIO, DOCUMENT, IMAGE, Clip, Embeddings, Item, Role


def parts(content: Clip | Path, max_frames: int, role: Role = DOCUMENT) -> list[Item]:
    """The frames (evenly spread, at most ``max_frames``) and the sound track, if there is one."""
    clip = content if isinstance(content, Clip) else _load(content, max_frames)
    picked = np.linspace(0, len(clip.frames) - 1, min(max_frames, len(clip.frames)))
    items = [Item(IMAGE, clip.frames[round(i)], role) for i in picked]
    return items if clip.sound is None else [*items, Item(AUDIO, clip.sound, role)]


def pool(frames: Embeddings, sound: Embeddings) -> Embeddings:
    """One embedding [embed_dim] for frames [n, embed_dim] and sound [0 or 1, embed_dim].

    The mean frame and the sound weigh the same.
    """
    views = [rows.mean(axis=0) for rows in (frames, sound) if len(rows)]
    return l2_normalize(np.sum(views, axis=0))


def _load(path: Path, max_frames: int) -> Clip:

    return load_clip(path, max_frames=max_frames)

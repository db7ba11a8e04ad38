"""Fixed inputs, by whose vectors a model is recognised that runs elsewhere, under a name alone."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

import numpy as np

from encoder.errors import ModelError
from encoder.space import l2_normalize
from encoder.types import AUDIO, IMAGE, TEXT, Embeddings, Item, Waveform

LEAST_COSINE = 0.999
"""Half precision, other batches and other hardware stay above; a 4-bit copy of a model, or its next
version, does not."""

_RAMP = np.arange(64, dtype=np.uint8)
PROBES: Mapping[str, Sequence[Item]] = {
    TEXT: [
        Item(TEXT, "The river froze."),
        Item(TEXT, "Wie viele Stunden schläft eine Katze am Tag?"),
        Item(TEXT, "火星的表面为什么是红色的？"),
        Item(TEXT, "def area(radius): return 3.14159 * radius ** 2"),
    ],
    IMAGE: [Item(IMAGE, np.dstack(np.broadcast_arrays(_RAMP, _RAMP[:, None] * 2, np.uint8(90))))],
    AUDIO: [Item(AUDIO, Waveform(np.sin(0.1 * np.arange(16_000)).astype(np.float32) / 4, 16_000))],
}
"""By modality, and the shortest first; they get no prompt, whatever the model's name says."""


def written(rows: Embeddings) -> tuple[str, ...]:
    """Unit rows [n, embed_dim] as text: 8 bits a number, whose cosine to the row is .9999."""
    scaled = np.rint(rows * (127 / np.abs(rows).max(axis=1, keepdims=True))).astype(np.int8)
    return tuple(base64.b64encode(row.tobytes()).decode() for row in scaled)


def read(probes: Sequence[str]) -> Embeddings:
    """The unit rows [n, embed_dim] of what `written` wrote."""
    rows = [np.frombuffer(base64.b64decode(probe), np.int8) for probe in probes]
    return l2_normalize(np.stack(rows).astype(np.float32))


def check_same(model: str, probes: Sequence[str], former: Sequence[str], before: str) -> None:
    """Raise a ModelError unless a model has the former probes; ``before`` says whose they are."""
    rows, former_rows = read(probes), read(former)
    is_alike = rows.shape == former_rows.shape
    least = float((rows * former_rows).sum(axis=1).min()) if is_alike else -1.0
    if least < LEAST_COSINE:
        raise ModelError(
            f"{model} is another model than {before}: the cosine of the same inputs is "
            f"{least:.3f}, not {LEAST_COSINE} or more.",
            remedy="Have the server run the former model under this name, or use another --store.",
        )

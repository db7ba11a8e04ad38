"""`anymodal worker`, or ``serve``, with a model that costs milliseconds: ``python -m`` this file.

Everything else is the real thing. The vectors depend on the content alone, as a model's do. Texts
can ask for trouble: ``wait while PATH exists``, ``keep 100 MB``. On SIGRTMIN a process does nothing
more, for which its probes wait 5 seconds.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from encoder.models.lanes import read_lanes
from encoder.services.text_services import TextServices
from encoder.space import Space, l2_normalize
from encoder.types import AUDIO, IMAGE, TEXT, Embeddings, Item, Modality, Role, Waveform
from workers.cli import anymodal
from workers.observe import probes
from workers.serving.resources import Resources, _config_of, _current

DIM = 32
SPACE = Space(DIM, {"model": "tiny"})
N_ROWS = {IMAGE: 2}
SECONDS_PER_ITEM = 0.01  # slow enough to be killed in the middle of the work


def _content(item: Item) -> bytes:
    if isinstance(item.content, str):
        return item.content.encode()
    if isinstance(item.content, Waveform):
        return item.content.samples.tobytes()
    return np.ascontiguousarray(item.content).tobytes()


_kept: list[NDArray[np.uint8]] = []


def _make_trouble(content: object) -> None:
    words = content.split() if isinstance(content, str) else []
    if words[:2] == ["wait", "while"]:
        while Path(words[2]).exists():
            time.sleep(0.05)
    if words[:1] == ["keep"]:
        _kept.append(np.ones(int(words[1]) * 10**6, np.uint8))


class TinyEncoder:
    model = "tiny"
    space = SPACE
    embed_dim = DIM
    modalities = frozenset({TEXT, IMAGE, AUDIO})
    services = TextServices()
    lanes: Mapping[Modality, object] = MappingProxyType({})

    @property
    def home(self) -> TinyEncoder:
        """The only model."""
        return self

    def lane(self, _modality: Modality) -> TinyEncoder:
        """The only model, for any kind."""
        return self

    def window_lengths(self, text: str, _role: Role = "document") -> list[int]:
        return [len(text.split())]

    def encode_items(self, items: Sequence[Item]) -> Embeddings:
        time.sleep(SECONDS_PER_ITEM * len(items))
        for item in items:
            _make_trouble(item.content)
        seeds = [int.from_bytes(blake2b(_content(item), digest_size=8).digest()) for item in items]
        return l2_normalize(np.stack([np.random.default_rng(s).normal(size=DIM) for s in seeds]))

    def encode_rows(self, items: Sequence[Item]) -> list[Embeddings]:
        """Pictures have several rows."""
        rows = self.encode_items(items)
        further = [np.roll(row, 1) for row in rows]
        n_rows = [N_ROWS.get(item.modality, 1) for item in items]
        return [np.stack([a, b])[:n] for a, b, n in zip(rows, further, n_rows, strict=True)]


class NamedEncoder(TinyEncoder):
    """A tiny model for each name, with a space of its own, and for each lane in a name."""

    def __init__(self, model: str) -> None:
        self.model = model
        self._name, others = read_lanes(model)
        self.space = replace(SPACE, identity={"model": self._name})
        self.lanes = {modality: NamedEncoder(name) for modality, name in others.items()}

    @cached_property
    def home(self) -> NamedEncoder:
        return NamedEncoder(self._name) if self.lanes else self

    def lane(self, modality: Modality) -> NamedEncoder:
        return self.lanes.get(modality, self.home)

    def encode_items(self, items: Sequence[Item]) -> Embeddings:
        return np.roll(super().encode_items(items), sum(self._name.encode()), axis=1)

    def encode_rows(self, items: Sequence[Item]) -> list[Embeddings]:
        if not self.lanes:
            return super().encode_rows(items)
        return [self.lane(item.modality).encode_rows([item])[0] for item in items]


def named_encoder(held: Resources) -> NamedEncoder:
    """For `load_by`."""
    config = held.settings.encoder
    if held._filling is None:
        config = _config_of(config, _current(config, held.settings.store))
    return NamedEncoder(config.model)


def load_by(load: Callable[[Resources], TinyEncoder]) -> None:
    """Use this model in place of a real one, in this whole process."""
    assert hasattr(Resources, "_load_encoder")
    Resources._load_encoder = load  # type: ignore[assignment,method-assign]


if __name__ == "__main__":
    words = sys.argv[1:]
    load_by(lambda _: TinyEncoder())
    probes.SILENT_S = 5
    signal.signal(signal.SIGRTMIN, lambda *_: time.sleep(3600))
    anymodal.main(words if words[:1] == ["serve"] else ["worker", *words])

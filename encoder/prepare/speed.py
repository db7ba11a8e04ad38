"""How fast a model encodes on this machine."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from encoder.config import EncoderConfig
from encoder.lane import Lane
from encoder.models.catalogue import all_models
from encoder.prepare.hub.check import picture, sound
from encoder.runtime.trial import cpu_model
from encoder.system.cache import cache_folder, make_once
from encoder.types import AUDIO, DOCUMENT, IMAGE, TEXT, Item, Modality

_N_ROUNDS = 5
_SAMPLES: Mapping[Modality, Callable[[], Any]] = {
    TEXT: lambda: "A red bicycle leans against the wall of a bakery.",
    IMAGE: lambda: picture(0, 480, 640),
    AUDIO: lambda: sound(0, 5.0),
}


def speeds_ms(model: str, config: EncoderConfig, modalities: Collection[str]) -> dict[str, float]:
    """CPU time, on all cores together, of a sentence, of a photo and of five seconds of sound.

    Measured once on a machine, which takes seconds, and kept in the cache.

    Args:
        model: that was prepared.
        config: how it runs.
        modalities: which of its towers; others than these three are left out.

    Raises:
        ModelError: the model cannot be loaded.
    """
    measured = [modality for modality in _SAMPLES if modality in modalities]
    whole = model.partition("#")[0]
    facts = {artifact.manifest["spec"]: artifact.manifest for artifact in all_models()}[whole]
    depends_on = (model, facts["space"]["fingerprint"], config.quantization, cpu_model(), *measured)
    key = hashlib.sha256(json.dumps(depends_on).encode()).hexdigest()[:16]

    def measure(new: Path) -> None:
        lane = Lane(model, config)
        figures = {modality: _cpu_ms(lane, modality) for modality in measured}
        new.write_text(json.dumps(figures), "utf-8")

    path = make_once(cache_folder("trials") / f"speed-{key}.json", measure)
    return dict(json.loads(path.read_text("utf-8")))


def _cpu_ms(lane: Lane, modality: Modality) -> float:
    items = [Item(modality, _SAMPLES[modality](), DOCUMENT)]
    lane.encode_items(items)  # loads the tower
    times_s = []
    for _ in range(_N_ROUNDS):
        started_s = time.process_time()
        lane.encode_items(items)
        times_s.append(time.process_time() - started_s)
    return round(median(times_s) * 1e3, 1)

"""Any hub model: our graphs in float32 and int8 beside the same model in torch.

``python -m benchmarks models FOLDER …``: one item of each modality at a time, CPU-seconds
on one thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.harness.reporting import Settings, note, report
from benchmarks.harness.results_pages import table
from benchmarks.harness.timing import take_turns
from encoder.models import hub
from encoder.models.exported import open_exported
from encoder.prepare.hub.check import picture, sound
from encoder.prepare.hub.prepare import prepare_hub
from encoder.towers import hub as towers
from encoder.towers.base import Tower
from encoder.towers.hub import JointTextTower
from encoder.types import AUDIO, DOCUMENT, IMAGE, TEXT, Modality

_TORCH, _WINDOW_S = "torch float32", 30.0
_ABOUT = """\
One item at a time, from a text of 270 letters, an array of pixels or samples to its vector, on one
thread; CPU-seconds, medians of {n} rounds in which all take turns; a gain is the median of the
ratios within rounds, with the middle 80 % of them. `torch float32` is our own path through
sentence-transformers."""


def main(settings: Settings) -> None:
    """Prepare, time and report each model."""
    if not settings.words:
        raise SystemExit("Name folders of models, as a hub has them.")
    for name in settings.words:
        rows = []
        with TemporaryDirectory() as scratch:
            for kind, tower in _eager(name).items():
                content = _contents()[kind]
                ways = {_TORCH: tower}
                for precision in (None, "int8"):
                    target = Path(scratch) / (precision or "float32")
                    if not target.exists():
                        target.mkdir()
                        prepare_hub(Path(name), target, precision, lambda *step: note(str(step)))
                    ways[target.name] = open_exported(target, 1, shared=False).towers[kind]
                rows += _rows(kind, ways, content, settings.items(15, 2))
        about = _ABOUT.format(n=settings.items(15, 2))
        heads = ("what", "runs on", "CPU-ms", "gain", "cosine")
        report(settings, f"As graphs: {name}", about, table(heads, rows))


def _rows(
    kind: Modality, ways: Mapping[str, Tower], content: object, n_rounds: int
) -> list[list[object]]:
    import torch

    torch.set_num_threads(1)
    runs = {name: partial(_vector, tower, content) for name, tower in ways.items()}
    vectors = {name: run() for name, run in runs.items()}
    times = take_turns(runs, n_rounds=n_rounds, n_warm_up=1, clock=time.process_time)
    return [
        [kind, name, f"{times.median_ms(name):.1f}", times.speedup(name, _TORCH),
         f"{float(vectors[name] @ vectors[_TORCH]):.5f}"]
        for name in ways
    ]  # fmt: skip


def _vector(tower: Tower, content: object) -> Any:
    return tower.forward([tower.prepare(content)]).rows[0]


def _contents() -> Mapping[Modality, object]:
    letters = np.random.default_rng(0).choice(list("abcdefghij "), 270)
    text = "".join(letters).strip()
    return {TEXT: text, IMAGE: picture(0, 480, 640), AUDIO: sound(0, 5.0)}


def _eager(source: str) -> Mapping[Modality, Tower]:
    """The towers as sentence-transformers runs them."""
    _, joint, prompts = hub.open_joint(source, None, "cpu")
    prompt = partial(prompts.of, role=DOCUMENT)  # as graphs have them
    makers: Mapping[Modality, Callable[[], Tower]] = {
        TEXT: partial(JointTextTower, joint, prompt(TEXT)),
        IMAGE: partial(towers.image_tower, joint, prompt(IMAGE)),
        AUDIO: partial(towers.sound_tower, joint, prompt(AUDIO), _WINDOW_S),
    }
    return {kind: make() for kind, make in makers.items() if str(kind) in joint.model.modalities}

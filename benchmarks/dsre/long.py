"""Windowed attention against a mask over all pairs, in ModernBERT's architecture."""

from __future__ import annotations

import time
from copy import deepcopy

import numpy as np
import torch
from torch import nn

from benchmarks.harness.reporting import Settings, note, report
from benchmarks.harness.results_pages import table
from benchmarks.harness.timing import on_one_core, take_turns

_ROUNDS = {512: 9, 1024: 7, 2048: 5, 8192: 2}
_DENSE, _WINDOWED = "mask over all pairs", "windowed"


def main(settings: Settings) -> None:
    """ModernBERT-base's size with random weights, in torch and float32, one text at a time."""
    from transformers import ModernBertConfig, ModernBertModel

    from encoder.dsre.adapters.modernbert import use_windows

    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = ModernBertConfig()
    dense = ModernBertModel(config).eval()
    windowed = deepcopy(dense)
    assert use_windows(windowed)
    rows = []
    with on_one_core(), torch.inference_mode():
        for length in list(_ROUNDS)[: settings.items(len(_ROUNDS), 3)]:
            note(f"{length} tokens")
            runs = {_DENSE: Run(dense, length), _WINDOWED: Run(windowed, length)}
            times = take_turns(
                runs,
                n_rounds=settings.items(_ROUNDS[length], 1),
                n_warm_up=int(length < 8192),
                clock=time.process_time,
            )
            apart = (runs[_DENSE].states - runs[_WINDOWED].states).abs().max()
            seconds = (f"{times.median_ms(name) / 1e3:.2f}" for name in runs)
            rows.append([length, *seconds, times.speedup(_WINDOWED, _DENSE), f"{apart:.0e}"])
    local = np.sum([kind == "sliding_attention" for kind in config.layer_types])
    intro = f"""ModernBERT-base's architecture, random weights, float32 in torch, one text: {local}
of {config.num_hidden_layers} layers are local, and see {config.sliding_window} tokens on each side.
transformers runs them with a mask over all pairs; windowed attention runs them block by block. The
global layers run as they are. The last column is the greatest difference of a state."""
    headings = ("tokens", f"{_DENSE}, s", f"{_WINDOWED}, s", "× faster", "difference")
    report(settings, "Long texts: windowed attention", intro, table(headings, rows))


class Run:
    """A forward pass of one text of random tokens, the same for all networks; keeps the output."""

    def __init__(self, model: nn.Module, length: int) -> None:
        self._model = model
        self._ids = torch.randint(1000, 50000, (1, length), generator=_seeded())
        self.states = torch.empty(0)

    def __call__(self) -> None:
        self.states = self._model(self._ids).last_hidden_state


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)

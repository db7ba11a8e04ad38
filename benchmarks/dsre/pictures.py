"""Merging patches in vision towers of published sizes, with random weights."""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import nn

from benchmarks.harness.reporting import Settings, note, report
from benchmarks.harness.results_pages import table
from benchmarks.harness.timing import on_one_core, take_turns

_WIDE = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24}
_TOWERS: dict[str, tuple[str, dict[str, int]]] = {
    "CLIP B/32, 224": ("clip_vision_model", {"image_size": 224, "patch_size": 32}),
    "CLIP B/16, 224": ("clip_vision_model", {"image_size": 224, "patch_size": 16}),
    "SigLIP B/16, 384": ("siglip_vision_model", {"image_size": 384, "patch_size": 16}),
    "CLIP L/14, 224": (
        "clip_vision_model",
        {"image_size": 224, "patch_size": 14, "num_attention_heads": 16, **_WIDE},
    ),
}
_SHARES = (0.7, 0.5, 0.3)
_ROUNDS = 5


def main(settings: Settings) -> None:
    """One picture at a time, in torch and float32 on one core."""
    torch.set_num_threads(1)
    rows = []
    with on_one_core(), torch.inference_mode():
        for name in list(_TOWERS)[: settings.items(len(_TOWERS), 1)]:
            note(name)
            rows.append(_row(name, settings.items(_ROUNDS, 1)))
    intro = """Architectures of published towers, random weights, float32 in torch, one picture. The
columns say which share of the patches is left after the last layer (`enable_dsre={"pictures": …}`);
times are the process's. Quality is not measured: no such weights can be had here."""
    headings = ("tower", "patches", "dense, s", *(f"{share:g} left, × faster" for share in _SHARES))
    report(settings, "Pictures: merged patches", intro, table(headings, rows))


def _row(name: str, n_rounds: int) -> list[object]:
    from transformers import AutoConfig, AutoModel

    from encoder.dsre.adapters.vision import merge_patches

    kind, size = _TOWERS[name]
    torch.manual_seed(0)
    dense: Any = AutoModel.from_config(AutoConfig.for_model(kind, **size)).eval()
    pixels = torch.randn(1, 3, size["image_size"], size["image_size"])
    runs: dict[str, Callable[[], object]] = {"dense": partial(dense, pixel_values=pixels)}
    for share in _SHARES:
        tower: nn.Module = deepcopy(dense)
        merge_patches(tower, share)
        runs[f"{share}"] = partial(tower, pixel_values=pixels)
    times = take_turns(runs, n_rounds=n_rounds, n_warm_up=1, clock=time.process_time)
    faster = (times.speedup(f"{share}", "dense") for share in _SHARES)
    n_patches = (size["image_size"] // size["patch_size"]) ** 2
    return [name, n_patches, f"{times.median_ms('dense') / 1e3:.2f}", *faster]

"""What a full analysis of sensitivity costs, in seconds of one core.

Importing this imports torch.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from benchmarks.harness.reporting import Bar, Settings, note, report
from benchmarks.harness.results_pages import table
from benchmarks.quant.networks.subjects import Subject, lite, minilm
from encoder.quant.quantizer import Quantizer

_BARS = {"EfficientNet-Lite0": Bar(at_most=120.0), "MiniLM": Bar(at_most=240.0)}


def main(settings: Settings) -> None:
    """Analyse both networks without any cache, on one thread."""
    torch.set_num_threads(1)
    subjects: dict[str, Callable[[], Subject]] = {
        "EfficientNet-Lite0": lambda: lite(settings, "lite0", 1),
        "MiniLM": lambda: minilm(settings, 1),
    }
    rows = [_analyse(name, make()) for name, make in subjects.items()]
    intro = (
        "Every layer at every candidate width, and the fast estimate by Fisher's information; "
        "process time (all threads), one thread, nothing kept from before."
    )
    headings = ["network", "layers", "measurements", "items", "CPU s, measured", "CPU s, Fisher"]
    report(settings, "Cost of an analysis of sensitivity", intro, table(headings, rows))


def _analyse(name: str, subject: Subject) -> list[object]:
    quantizer = Quantizer(subject.model, subject.data, objective=subject.objective)
    spent = {}
    for mode in ("fisher", "measured"):
        note(f"{name}, {mode}")
        start = time.process_time()
        measured = quantizer.analyze_sensitivity(mode=mode)
        spent[mode] = time.process_time() - start
    cost = _BARS[name].beside(spent["measured"], ".0f")
    n_rows = sum(row.scheme.is_integer for row in measured.rows)
    return [name, len(measured.layers), n_rows, measured.n_items, cost, f"{spent['fisher']:.1f}"]

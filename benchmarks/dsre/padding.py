"""What avoiding padding saves; lossless, and not sparsity."""

from __future__ import annotations

import time

import numpy as np

from benchmarks.dsre.subjects import DENSE8, LIBRARIES, Ids, batch, open_minilm, text_folder, tokens
from benchmarks.harness.reporting import Settings, report
from benchmarks.harness.results_pages import table
from benchmarks.harness.timing import on_one_core, take_turns
from tests.support.manuals import documented


def main(settings: Settings) -> None:
    """Batches of 16 as they come, against the same texts sorted by length."""
    documents = [one.body for one in documented(*LIBRARIES)]
    ids = tokens(text_folder(), documents)
    n_texts = settings.items(64, 16)
    picked = [ids[i] for i in np.random.default_rng(0).permutation(len(ids))[:n_texts]]
    ordered = sorted(picked, key=len)
    session = open_minilm([DENSE8])[DENSE8]

    def run(texts: list[Ids], at_once: int) -> None:
        for start in range(0, len(texts), at_once):
            session.run(batch(texts[start : start + at_once]))

    candidates = {
        "as they come": lambda: run(picked, 16),
        "by length": lambda: run(ordered, 16),
        "one by one": lambda: run(picked, 1),
    }
    with on_one_core():
        times = take_turns(
            candidates, n_rounds=settings.items(7, 2), n_warm_up=1, clock=time.process_time
        )
    rows = [(n, f"{times.median_ms(n):.0f}", times.speedup(n, "as they come")) for n in candidates]
    intro = f"""{n_texts} texts of different lengths in the dense int8 network, in batches of 16.
This is free of loss and no sparsity: the encoder sorts by length anyway."""
    body = table(("batches", "ms", "× as they come"), rows)
    report(settings, "Dynamic sparse inference: padding", intro, body)

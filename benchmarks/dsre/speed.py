"""How fast the sparse networks are compared with the dense ones, on one core."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.dsre.subjects import (
    BF16,
    DENSE,
    DENSE8,
    EAGER,
    MAX_TOKENS,
    SPARSE,
    SPARSE8,
    SPARSE_EAGER,
    Ids,
    Run,
    all_runs,
    batch,
    long_texts,
    on,
    open_minilm,
    shipped_gate,
    text_folder,
)
from benchmarks.harness.reporting import Bar, Settings, note, report
from benchmarks.harness.results_pages import table
from benchmarks.harness.timing import Times, on_one_core, take_turns

LENGTHS = (128, 256, 512)
BATCHES = {1: 15, 16: 7}
"""The rounds of each number of texts."""
_SAME_ENGINE = {SPARSE_EAGER: EAGER, SPARSE: DENSE, SPARSE8: DENSE8}
_TRAINING_FREE, _DISTILLED = Bar(at_least=1.3), Bar(at_least=1.68)
Bars = Mapping[tuple[str, str], Bar]
"""The speedups required at 512 tokens, one text, by the network and its baseline."""
_INTRO = """Seconds of the processor, candidates taking turns; medians and the middle 80 % of the
rounds. Texts are documentation of SciPy that no gate was fitted to, cut to the length, so nothing
is padded; "same engine" compares with the dense network of the same kind. Bars are for 512 tokens,
one text. The encoder itself cuts texts at 256 tokens and runs those below the gate's shortest
length in the dense network."""


def minilm(settings: Settings) -> None:
    """The bundle's network, its own gate."""
    from encoder.networks.bert import load_sentence_bert

    gate = shipped_gate()
    sessions = open_minilm((DENSE, SPARSE, DENSE8, SPARSE8))
    runs = all_runs(load_sentence_bert(text_folder()), gate, sessions)
    same_engine = _DISTILLED if gate.deltas else _TRAINING_FREE  # weights tuned with it
    bars = {
        (SPARSE_EAGER, EAGER): same_engine,
        (SPARSE, DENSE): same_engine,
        (SPARSE8, EAGER): Bar(at_least=2.6),
    }
    texts = long_texts(text_folder())
    body = _measure(settings, runs, texts, bars)
    report(settings, "Dynamic sparse inference: speed of MiniLM", _INTRO, *body)


def _measure(
    settings: Settings,
    runs: Mapping[str, Run],
    texts: Sequence[Ids],
    bars: Bars,
) -> list[str]:
    import torch

    torch.set_num_threads(1)
    found: dict[tuple[int, int], Times] = {}
    with on_one_core():
        for n_tokens in LENGTHS:
            for n_texts in list(BATCHES)[: settings.items(2, 1)]:
                note(f"{n_texts} × {n_tokens} tokens")
                inputs = batch([one[:n_tokens] for one in texts[:n_texts]])
                found[n_texts, n_tokens] = take_turns(
                    {name: on(run, inputs) for name, run in runs.items()},
                    n_rounds=settings.items(BATCHES[n_texts], 2),
                    n_warm_up=1,
                    clock=time.process_time,
                )
    headings = ("tokens", "batch", "network", "ms", "× eager fp32", "× same engine, dense")
    rows = [row for case, times in found.items() for row in _rows(case, times, bars)]
    return [table(headings, rows), "µs per token, batch × tokens:", per_token(found)]


def _rows(case: tuple[int, int], times: Times, bars: Bars) -> Iterator[tuple[object, ...]]:
    n_texts, n_tokens = case
    is_judged = case == (1, MAX_TOKENS)
    for name in times.names:
        cells = [
            _ratio(times, name, baseline, bars.get((name, baseline or "")) if is_judged else None)
            for baseline in (None if name == SPARSE_EAGER else EAGER, _SAME_ENGINE.get(name))
        ]
        yield n_tokens, n_texts, _label(name), f"{times.median_ms(name):.1f}", *cells


def _ratio(times: Times, name: str, baseline: str | None, bar: Bar | None) -> str:
    if baseline is None:
        return ""
    ratio = times.speedup(name, baseline)
    return f"{ratio}; {bar.beside(ratio.median, '.2f')}" if bar else str(ratio)


def per_token(found: Mapping[tuple[int, int], Times]) -> str:
    """Median microseconds per input token, a row for each network."""
    names = next(iter(found.values())).names
    rows = [
        [
            _label(name),
            *(
                f"{times.median_ms(name) * 1e3 / (n * length):.0f}"
                for (n, length), times in found.items()
            ),
        ]
        for name in names
    ]
    return table(["network", *(f"{n} × {length}" for n, length in found)], rows)


def _label(name: str) -> str:
    return f"{name} (emulated)" if name == BF16 and not has_bf16() else name


def has_bf16() -> bool:
    """Whether the processor multiplies bfloat16 itself."""
    return "avx512_bf16" in Path("/proc/cpuinfo").read_text()

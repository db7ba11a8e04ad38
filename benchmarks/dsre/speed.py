"""How fast the sparse networks are compared with the dense ones, on one core."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.dsre import bge
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
    make_networks,
    on,
    open_minilm,
    shipped_gate,
    text_folder,
)
from benchmarks.harness.reporting import Bar, Settings, note, report
from benchmarks.harness.results_pages import table
from benchmarks.harness.timing import Times, on_one_core, take_turns
from encoder.dsre.cost import dense_flops, sparse_flops
from encoder.dsre.gatefile import GateFile

if TYPE_CHECKING:
    from encoder.networks.bert import SentenceBert

LENGTHS = (128, 256, 512)
BATCHES = (1, 16)
_SAME_ENGINE = {SPARSE_EAGER: EAGER, SPARSE: DENSE, SPARSE8: DENSE8}
_TRAINING_FREE, _DISTILLED = Bar(at_least=1.3), Bar(at_least=1.68)
_INTRO = """Seconds of the processor, candidates taking turns; medians and the middle 80 % of the
rounds. Texts are documentation of SciPy that no gate was fitted to, cut to the length, so nothing
is padded; "same engine" compares with the dense network of the same kind. Bars are for 512 tokens,
one text. The encoder itself cuts texts at 256 tokens and runs those below the gate's shortest
length in the dense network."""


@dataclass(frozen=True)
class Bars:
    """The speedups required at 512 tokens, one text.

    Args:
        same_engine: float32 against the dense network of the same engine.
        over_eager: int8 against torch in float32.
    """

    same_engine: Bar
    over_eager: Bar

    def of(self, name: str, baseline: str) -> Bar | None:
        """The bar of a network over a baseline, if it has one."""
        bars = {
            (SPARSE_EAGER, EAGER): self.same_engine,
            (SPARSE, DENSE): self.same_engine,
            (SPARSE8, EAGER): self.over_eager,
        }
        return bars.get((name, baseline))


def minilm(settings: Settings) -> None:
    """The bundle's network, its own gate."""
    from encoder.networks.bert import load_sentence_bert

    gate = shipped_gate()
    sessions = open_minilm((DENSE, SPARSE, DENSE8, SPARSE8))
    runs = all_runs(load_sentence_bert(text_folder()), gate, sessions)
    bars = Bars(_DISTILLED if is_distilled(gate) else _TRAINING_FREE, Bar(at_least=2.6))
    texts = long_texts(text_folder())
    body = _measure(settings, runs, texts, bars, {1: 15, 16: 7})
    report(settings, "Dynamic sparse inference: speed of MiniLM", _INTRO, *body)


def is_distilled(gate: GateFile) -> bool:
    """Whether the gate comes with weights that were tuned with it."""
    return bool(gate.deltas)


def twelve(settings: Settings) -> None:
    """bge-small with preset J2, and BERT-base's size with as many tokens left in each layer."""
    import torch

    from benchmarks.dsre.rates import fixed_rates
    from encoder.dsre.settings import GateSettings, thresholds
    from encoder.networks.bert import BertSize, SentenceBert

    folder = bge.fetch(settings.folder)
    texts = long_texts(folder)
    gate = GateFile(shipped_gate().rarity, GateSettings(thresholds("J1", 12, shift=-0.07)))
    small = bge.load(folder)
    shares, saving = kept_shares(small, gate, texts[: settings.items(16, 2)])
    torch.manual_seed(0)
    base = SentenceBert(BertSize(hidden_dim=768, ffn_dim=3072, n_layers=12)).eval()
    with torch.inference_mode():
        fixed = fixed_rates(base, gate, torch.from_numpy(texts[0][None]), shares)
    subjects = {
        "bge-small-en-v1.5, 12 layers of 384 (dequantized from int8; mean pooling), preset J2":
            (small, gate, Bars(Bar(at_least=1.55), Bar(at_least=3.1))),
        "BERT-base's size, 12 layers of 768, random weights; thresholds that leave as many tokens":
            (base, fixed, Bars(Bar(at_least=1.55), Bar(at_least=4.2))),
    }  # fmt: skip
    parts = []
    for name, (model, own, bars) in subjects.items():
        note(name)
        with tempfile.TemporaryDirectory() as scratch:
            runs = all_runs(model, own, make_networks(model, own, Path(scratch)))
            body = _measure(settings, runs, texts, bars, {1: 9, 16: 3})
        parts += [f"**{name}**", *body]
    told = ", ".join(f"{share:.0%}" for share in shares)
    kept = (
        f"J2 leaves bge-small, at 512 tokens, after each layer: {told}; {saving:.2f}× fewer FLOPs."
    )
    report(settings, "Dynamic sparse inference: speed of 12 layers", _INTRO, kept, *parts)


def kept_shares(
    model: SentenceBert, gate: GateFile, texts: Sequence[Ids]
) -> tuple[list[float], float]:
    """What share of the tokens a gate leaves in each layer, and how many times fewer FLOPs."""
    import torch

    from encoder.dsre.network import SparseEncoder

    network = SparseEncoder(model, gate).eval()
    ids = torch.from_numpy(np.stack(list(texts)))
    with torch.inference_mode():
        kept = network(ids, torch.ones(ids.shape))[1].numpy()
    n_tokens, shape = [len(one) for one in texts], network.blocks.shape
    gated = [threshold is not None for threshold in gate.settings.thresholds]
    saving = (
        dense_flops(shape, n_tokens).sum() / sparse_flops(shape, n_tokens, kept, gated=gated).sum()
    )
    return (kept.mean(0) / ids.shape[1]).tolist(), float(saving)


def _measure(
    settings: Settings,
    runs: Mapping[str, Run],
    texts: Sequence[Ids],
    bars: Bars,
    n_rounds: Mapping[int, int],
) -> list[str]:
    import torch

    torch.set_num_threads(1)
    found: dict[tuple[int, int], Times] = {}
    with on_one_core():
        for n_tokens in LENGTHS:
            for n_texts in BATCHES[: settings.items(2, 1)]:
                note(f"{n_texts} × {n_tokens} tokens")
                inputs = batch([one[:n_tokens] for one in texts[:n_texts]])
                found[n_texts, n_tokens] = take_turns(
                    {name: on(run, inputs) for name, run in runs.items()},
                    n_rounds=settings.items(n_rounds[n_texts], 2),
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
            _ratio(times, name, baseline, bars.of(name, baseline) if is_judged else None)
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

"""Small trained networks at a half, a quarter and an eighth: whether they still answer the same.

Protocol, written before the first run; CREPE tiny and aiSFX, which were in it, took too long
(`benchmarks/tried.md`), and Silero VAD came in their place before it had been run.

- Three networks with the weights that their authors published: EfficientAT mn04 (sounds, 527
  classes), Silero VAD (speech or none, every 32 ms) and Resemblyzer (speakers, an LSTM).
  EfficientNet-Lite0 and MiniLM have parts of their own.
- ``Quantizer(model, data).apply(budget=…)`` with 2×, 4× and 8× of the memory, nothing tuned and
  nothing refitted. Every byte counts.
- Data that fit and data that judge share nothing: ESC-50's classes with even numbers against those
  with odd ones; speakers of speechocean762's training half against those of its test half.
- Told is agreement with float32: for classifiers the share of equal first choices, for embedders
  the share of items whose nearest other item is the same; with its standard error, as if items were
  independent. Beside it the mean loss: KL in nats, or 1 − cosine.
"""

from __future__ import annotations

from benchmarks.harness.reporting import Settings, note, report
from benchmarks.harness.results_pages import table
from benchmarks.quant.networks.small import NETWORKS
from benchmarks.quant.quality import ways


def main(settings: Settings) -> None:
    """Each network at each size."""
    rows = []
    for subject in (build(settings) for build in NETWORKS):
        original = ways.as_it_is(subject)
        for size in ("2x", "4x", "8x"):
            way = ways.mixed(subject, size)
            figures = subject.judge(way.model)
            share, n = figures["agreement"], len(subject.original)
            error = 100 * (share * (1 - share) / n) ** 0.5
            row = [
                subject.name, f"{original.nbytes / 1e6:.2f}", size,
                f"{original.nbytes / way.nbytes:.2f}", f"{100 * share:.1f} ± {error:.1f}",
                f"{figures['loss']:.5f}", way.schemes,
            ]  # fmt: skip
            note(" | ".join(row))
            rows.append(row)
    headings = [
        "network", "MB", "asked", "× smaller", "agreement, %", "KL or 1 − cosine", "layers"
    ]  # fmt: skip
    judged = (
        "Agreement with float32 on data that fitted nothing: equal first choices, or for "
        "Resemblyzer the same nearest other item."
    )
    report(settings, "Quantized small networks: agreement by size", judged, table(headings, rows))

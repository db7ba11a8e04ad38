"""The tower with ``enable_dsre="auto"`` against the one without, at every length."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial

from benchmarks.dsre.subjects import (
    DENSE,
    DENSE8,
    MAX_TOKENS,
    Ids,
    long_texts,
    open_minilm,
    shipped_gate,
    text_folder,
)
from benchmarks.harness.reporting import Bar, Settings, note, report
from benchmarks.harness.results_pages import table
from benchmarks.harness.timing import Times, on_one_core, take_turns
from encoder.models.bundle.declaration import read_bundle
from encoder.models.bundle.model import parse_precision
from encoder.models.sparsity import Sparsity
from encoder.towers.text.sparse import SparseTextTower
from encoder.towers.text.tower import TextTower, load_tokenizer

LENGTHS = (16, 32, 64, 96, 127, 128, 129, 144, 160, 192, 256, 384, 512)
Forward = Callable[[list[Ids]], object]
_NEVER_SLOWER = Bar(at_least=0.98)


def main(settings: Settings) -> None:
    """int8, which the workers run, and float32."""
    texts = long_texts(text_folder())[: settings.items(6, 2)]
    found = {kind: _measure(settings, kind, texts) for kind in ("int8", None)}
    rows = [
        (length, *(cell for times in found.values() for cell in _cells(times[length])))
        for length in LENGTHS
    ]
    headings = ("tokens", "int8, ms", "int8, × dense", "float32, ms", "float32, × dense")
    intro = f"""The text tower, one text at a time, {len(texts)} texts of SciPy's documentation cut
to each length; seconds of the processor on one core, counted with all that the tower does. Texts
below the gate's shortest length run in the same dense network, so what differs there is noise."""
    report(settings, 'Dynamic sparse inference: "auto"', intro, table(headings, rows))


def _measure(settings: Settings, quantization: str | None, texts: list[Ids]) -> dict[int, Times]:
    note(quantization or "float32")
    folder, gate = text_folder(), shipped_gate()
    dense = DENSE8 if quantization else DENSE
    tokenizer = load_tokenizer(folder / "tokenizer.json", max_tokens=MAX_TOKENS)
    precision = parse_precision(read_bundle("english"), quantization)
    network = Sparsity(gate).network(folder, precision, n_threads=1)
    tower = SparseTextTower(tokenizer, open_minilm([dense])[dense], network)
    # the same tower and the same session: two of them differ by a few percent
    forwards = {"dense": partial(TextTower.forward, tower), "auto": tower.forward}
    with on_one_core():
        return {length: _times(settings, forwards, texts, length) for length in LENGTHS}


def _times(
    settings: Settings, forwards: Mapping[str, Forward], texts: list[Ids], length: int
) -> Times:
    def run(forward: Forward) -> None:
        for text in texts:
            forward([text[:length]])

    return take_turns(
        {name: partial(run, forward) for name, forward in forwards.items()},
        n_rounds=settings.items(41 if length < 200 else 15, 3),
        n_warm_up=1,
        clock=time.process_time,
    )


def _cells(times: Times) -> tuple[str, str]:
    ratio = times.speedup("auto", "dense")
    return f"{times.median_ms('auto'):.1f}", f"{ratio}; {_NEVER_SLOWER.beside(ratio.median, '.2f')}"

"""What a gate gains in the product: whole ingests of long documents, and questions.

A few minutes on one core. Child processes run on this one's cores (``taskset -c 1``).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

import numpy as np

from benchmarks.bundle_quality.questions import embed, read
from benchmarks.dsre.product import MULTILINGUAL
from benchmarks.harness.reporting import Bar, Settings, note, report
from benchmarks.harness.results_pages import table
from benchmarks.harness.timing import Times
from encoder.dsre.fitting.judge import Found, compare, search
from encoder.loading import load_model
from encoder.types import TEXT, Embeddings
from tests.support.manuals import documented

ENGLISH = "bundle:english"
_LOSS = Bar(at_most=0.3)
_N_MANUALS, _MANUAL_CHARS, _WINDOW_CHARS, _N_PAIRS = 20, 4_000, 800, 5
_N_JOINED, _MAX_TOKENS = 3, 512
_LOSSES = (
    "model", "language", "questions", "dense nDCG@10",
    "loss, %", "±", "half merged: loss, %", "±",
)  # fmt: skip
_LANGUAGES = {ENGLISH: ("en",), MULTILINGUAL: ("ar", "el", "ro", "tr", "vi")}

_INGEST = """Protocol, written before the first run: `anymodal ingest` of {n} manuals of SciPy of
at least {chars:,} characters into an empty store, one thread for each network, seconds of the
processor of all its processes; start, decoding, words and rows are in them. The product cuts
texts into windows of 800 characters, here of {tokens:.0f} tokens on average for the English
model; its gate merges from 128 on. One file warms each way; then both runs of a pair follow each
other, the gate first in every second pair; {pairs} pairs, medians and the middle 80 %.
Both models run their own gates, bundle:multilingual's for texts of 128 tokens and more too."""
_QUESTIONS = """Protocol, written before the first run: questions of XQuAD ask for their paragraph
among 240 of their language, int8 with a gate against int8 without; questions run dense. Paragraphs
have the length of the product's windows. The gate of bundle:multilingual was trained with texts in
these languages too, of other kinds; its thresholds and when to stop were chosen on XQuAD in
English, German, Spanish, Russian and Chinese, which are not asked here. A language has 1,190
questions, translated from the same ones: "all" are more than the 5,000 of the bar in number, not
in content. ± is the standard error over questions, for "all" over the means of their translations.
Half merged is a store in which every second paragraph has a merged vector and the others have one
of int8 without a gate; the mean of both ways to halve it."""
_LONG = """Protocol, written before the first run: as above, but three paragraphs that follow each
other are one text, cut to 512 tokens, of which a language has 80. The product makes no such
windows; a caller of the encoder may."""


def ingest(settings: Settings) -> None:
    """Whole ingests of long documents, gate on and off."""
    manuals = [one.body for one in documented("scipy") if len(one.body) >= _MANUAL_CHARS]
    chosen = manuals[: settings.items(_N_MANUALS, 4)]
    prepare = load_model(ENGLISH, quantization="int8", n_threads=1).towers[TEXT].prepare
    starts = [(text, at) for text in chosen for at in range(0, len(text), _WINDOW_CHARS)]
    tokens = np.mean([len(prepare(text[at : at + _WINDOW_CHARS])) for text, at in starts])
    n_pairs = settings.items(_N_PAIRS, 1)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        _write(chosen, scratch / "manuals")
        _write(chosen[:1], scratch / "warm")
        rows = [(model, *_pairs(n_pairs, model, scratch)) for model in _LANGUAGES]
    about = _INGEST.format(n=len(chosen), chars=_MANUAL_CHARS, tokens=tokens, pairs=n_pairs)
    headings = ("model", "CPU-s, dense", "CPU-s, gate", "× faster")
    report(settings, "Dynamic sparse inference: whole ingests", about, table(headings, rows))


def _write(texts: Sequence[str], folder: Path) -> None:
    folder.mkdir()
    for number, text in enumerate(texts):
        (folder / f"{number}.txt").write_text(text)


def questions(settings: Settings) -> None:
    """What both gates lose when questions ask for paragraphs."""
    rows = [row for model in _LANGUAGES for row in _losses(settings, model, 1)]
    report(settings, "Dynamic sparse inference: questions ask", _QUESTIONS, table(_LOSSES, rows))


def long_questions(settings: Settings) -> None:
    """What the multilingual gate loses in texts of 512 tokens."""
    rows = [*_losses(settings, MULTILINGUAL, _N_JOINED)]
    title = "Dynamic sparse inference: questions ask for 512 tokens"
    report(settings, title, _LONG, table(_LOSSES, rows))


def _losses(settings: Settings, model: str, n_joined: int) -> Iterator[tuple[object, ...]]:
    dense, sparse = (
        load_model(model, quantization="int8", n_threads=1, enable_dsre=wish)
        for wish in (False, True)
    )
    found: list[list[Found]] = []
    for language in _LANGUAGES[model]:
        note(f"{model}, {language}")
        given = read(language)
        n = settings.items(len(given.questions), 50)
        asked = embed(dense, given.questions[:n], asked=True)
        texts = joined(given.paragraphs, n_joined)
        plain, merged = (
            embed(one, texts, asked=False, at_once=4, max_tokens=_MAX_TOKENS)
            for one in (dense, sparse)
        )
        stores = [plain, merged, *halves(plain, merged)]
        right = given.right[:n] // n_joined
        every = [search(asked, rows, right) for rows in stores]
        found.append([*every[:2], averaged(every[2:])])
        yield _row(model, language, n, *found[-1])
    if len(found) > 1:
        n_asked = sum(len(one.ndcg) for one, *_ in found)
        # translations of a question must not count as separate questions
        yield _row(model, "all", n_asked, *(averaged(way) for way in zip(*found, strict=True)))


def joined(paragraphs: Sequence[str], n_joined: int) -> list[str]:
    """As many paragraphs that follow each other as one text.

    >>> joined(["a", "b", "c"], 2)
    ['a\\nb', 'c']
    """
    starts = range(0, len(paragraphs), n_joined)
    return ["\n".join(paragraphs[start : start + n_joined]) for start in starts]


def halves(plain: Embeddings, merged: Embeddings) -> list[Embeddings]:
    """Two stores with both kinds of vectors: one with the even rows merged, one with the odd."""
    is_even = np.arange(len(plain))[:, None] % 2 == 0
    return [np.where(is_merged, merged, plain) for is_merged in (is_even, ~is_even)]


def averaged(several: Sequence[Found]) -> Found:
    """The mean of each question over several results."""
    ndcg = np.mean([one.ndcg for one in several], axis=0)
    return Found(ndcg, np.mean([one.margin for one in several], axis=0))


def _row(model: str, language: str, n: int, dense: Found, *others: Found) -> tuple[object, ...]:
    losses = [compare(dense, other) for other in others]
    told = [
        text
        for loss in losses
        for text in (_LOSS.beside(100 * loss.ndcg, ".2f"), f"{100 * loss.error:.2f}")
    ]
    return model, language, n, f"{dense.ndcg.mean():.3f}", *told


def _pairs(n_pairs: int, model: str, scratch: Path) -> tuple[object, ...]:
    ways = {"gate": "true", "dense": "false"}
    for wish in ways.values():
        _cpu_s(model, wish, scratch / "warm")
    seconds = np.zeros((len(ways), n_pairs))
    for pair in range(n_pairs):
        note(f"{model}, pair {pair + 1}")
        for place in (0, 1) if pair % 2 else (1, 0):
            seconds[place, pair] = _cpu_s(model, [*ways.values()][place], scratch / "manuals")
    times = Times(tuple(ways), seconds)
    dense, sparse = (f"{times.median_ms(name) / 1e3:.1f}" for name in ("dense", "gate"))
    return dense, sparse, times.speedup("gate", "dense")


def _cpu_s(model: str, wish: str, files: Path) -> float:
    before = getrusage(RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory(dir=files.parent) as store:
        command = [Path(sys.executable).with_name("anymodal"), "ingest", files]
        own = {"ANYMODAL_ENCODER__ENABLE_DSRE": wish, "ANYMODAL_ENCODER__N_THREADS": "1"}
        subprocess.run(
            [*command, "--store", store, "--model", model, "--json"],
            stdout=subprocess.DEVNULL,
            check=True,
            env={**os.environ, **own},
        )
    after = getrusage(RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

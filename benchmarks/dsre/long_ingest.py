"""What a gate brings where the product runs: whole ingests of long documents, and questions."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

import numpy as np

from benchmarks.bundle_quality.questions import embed, read
from benchmarks.dsre.product import BOLD, MULTILINGUAL, rarity, write_gates
from benchmarks.harness.reporting import Bar, Settings, note, report
from benchmarks.harness.results_pages import table
from benchmarks.harness.timing import Times
from encoder.dsre.fitting.retrieval import compare, search
from encoder.models.open import load_model
from encoder.models.sources.bundle.declaration import read_bundle
from encoder.models.sources.bundle.folder import fetch
from encoder.types import TEXT
from tests.support.manuals import documented

ENGLISH = "bundle:english"
_LOSS = Bar(at_most=0.3)
_N_MANUALS, _MANUAL_CHARS, _WINDOW_CHARS = 20, 4_000, 800
_LANGUAGES = {ENGLISH: "en", MULTILINGUAL: "vi"}

_INGEST = """Protocol, written before the first run: `anymodal ingest` of {n} manuals of SciPy of
at least {chars:,} characters into an empty store, one thread for each network, seconds of the
processor of all its processes; start, decoding, words and rows are in them. The product cuts
texts into windows of 800 characters, here of {tokens:.0f} tokens on average for the English
model; its gate merges from 128 on. Both runs of a pair follow each other; {pairs} pairs.
bundle:multilingual ships without a gate, since none pays and is careful: the one here is the bold
one of docs/dsre.md."""
_QUESTIONS = """Protocol, written before the first run: questions of XQuAD ask for their paragraph
among 240, int8 with a gate against int8 without; questions run dense. Paragraphs have the length
of the product's windows. No gate was fitted or chosen on these languages; English and what was
found in it had been seen for the dense towers. 1,190 questions are what there is in a language,
not the 5,000 of the bar; ± is the standard error over questions."""


def ingest(settings: Settings) -> None:
    """Whole ingests of long documents, gate on and off."""
    manuals = [one.body for one in documented("scipy") if len(one.body) >= _MANUAL_CHARS]
    chosen = manuals[: settings.items(_N_MANUALS, 4)]
    prepare = load_model(ENGLISH, quantization="int8", n_threads=1).towers[TEXT].prepare
    starts = [(text, at) for text in chosen for at in range(0, len(text), _WINDOW_CHARS)]
    tokens = np.mean([len(prepare(text[at : at + _WINDOW_CHARS])) for text, at in starts])
    n_pairs = settings.items(2, 1)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        (scratch / "manuals").mkdir()
        for number, text in enumerate(chosen):
            (scratch / "manuals" / f"{number}.txt").write_text(text)
        rows = [(model, *_pairs(n_pairs, model, gate, scratch)) for model, gate in _gates(scratch)]
    about = _INGEST.format(n=len(chosen), chars=_MANUAL_CHARS, tokens=tokens, pairs=n_pairs)
    headings = ("model", "CPU-s, dense", "CPU-s, gate", "× faster")
    report(settings, "Dynamic sparse inference: whole ingests", about, table(headings, rows))


def questions(settings: Settings) -> None:
    """What both gates lose where questions ask."""
    with tempfile.TemporaryDirectory() as scratch:
        rows = [_loss(settings, model, gate) for model, gate in _gates(Path(scratch))]
    headings = ("model", "language", "questions", "dense nDCG@10", "loss, %", "±")
    title = "Dynamic sparse inference: questions ask"
    report(settings, title, _QUESTIONS, table(headings, rows))


def _gates(scratch: Path) -> Iterator[tuple[str, str]]:
    """Each model with the setting that turns its gate on."""
    yield ENGLISH, "true"
    folder = fetch(read_bundle("multilingual")) / "text"
    yield MULTILINGUAL, str(write_gates(rarity(folder), scratch)[BOLD])


def _loss(settings: Settings, model: str, gate: str) -> tuple[object, ...]:
    language = _LANGUAGES[model]
    given = read(language)
    n = settings.items(len(given.questions), 50)
    wishes = (False, True if gate == "true" else gate)
    found = []
    for wish in wishes:
        note(f"{model}, {wish}")
        loaded = load_model(model, quantization="int8", n_threads=1, enable_dsre=wish)
        asked = embed(loaded, given.questions[:n], asked=True)
        texts = embed(loaded, given.paragraphs, asked=False)
        found.append(search(asked, texts, given.right[:n]))
    loss = compare(*found)
    percent, error = _LOSS.beside(100 * loss.ndcg, ".2f"), f"{100 * loss.error:.2f}"
    return model, language, n, f"{found[0].ndcg.mean():.3f}", percent, error


def _pairs(n_pairs: int, model: str, gate: str, scratch: Path) -> tuple[object, ...]:
    seconds = np.zeros((n_pairs, 2))
    for pair in seconds:
        for place, wish in enumerate((gate, "false")):
            note(f"{model}, {wish}")
            pair[place] = _cpu_s(model, wish, scratch)
    times = Times(("gate", "dense"), seconds.T)
    dense, sparse = (f"{times.median_ms(name) / 1e3:.1f}" for name in ("dense", "gate"))
    return dense, sparse, times.speedup("gate", "dense")


def _cpu_s(model: str, wish: str, scratch: Path) -> float:
    before = getrusage(RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory(dir=scratch) as store:
        command = [Path(sys.executable).with_name("anymodal"), "ingest", scratch / "manuals"]
        own = {"ANYMODAL_ENCODER__ENABLE_DSRE": wish, "ANYMODAL_ENCODER__N_THREADS": "1"}
        subprocess.run(
            [*command, "--store", store, "--model", model, "--json"],
            stdout=subprocess.DEVNULL,
            check=True,
            env={**os.environ, **own},
        )
    after = getrusage(RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

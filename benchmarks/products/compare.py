"""Ingest 200 mixed files with each product in turn, and ask all the same questions.

``python -m benchmarks products [--rounds N]``; ``--quick`` takes a tenth of the files and ours in
int8. `make bench-products` makes the environments. All use the bundle's MiniLM.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.harness.reporting import Settings, note, report
from benchmarks.harness.results_pages import table
from benchmarks.products.folder import N_FILES, Asked, make_folder
from benchmarks.products.folder import __doc__ as protocol
from benchmarks.products.measure import Run, Runs, in_turns, run
from encoder.models.bundle.declaration import read_bundle
from encoder.prepare.bundle.fetch import fetch

_OF_MODEL = ("config.json", "tokenizer.json", "model.safetensors")
_PEERS = {
    "txtai 9.14.0": (".venv-txtai/bin/python", "Txtai"),
    "VectrixDB 2.2.0": (".venv-vectrixdb/bin/python", "VectrixDB"),
}
"""As pages quote them, in the versions that the Makefile installs."""
_LEFT_OUT = """\
Left out: the peers read pictures and sounds with further extras or models of a hub, and txtai's
reader of PDF (docling) needs one too. Without a hub they do not find these files. Each cuts texts
as it does by itself; ours also matches words. txtai and VectrixDB run MiniLM in torch. haiku.rag
0.6.0, which pip takes for Python 3.11, has its vectors only from a server of Ollama, OpenAI or
Voyage, and is not run."""
_MB = 1024**2
_FLOAT32 = "ours, float32"
_N_ROUNDS = 3


def main(settings: Settings) -> None:
    """Measure, and report all that ran to its end."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks products")
    parser.add_argument("--rounds", type=int, default=settings.items(_N_ROUNDS, 1))
    n_rounds = parser.parse_args(settings.words).rounds
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        asked = make_folder(scratch / "files", settings.items(N_FILES, N_FILES // 10))
        (scratch / "asked.json").write_text(json.dumps(asked))
        _copy_model(scratch / "minilm")
        n_files, ways = len(list((scratch / "files").iterdir())), _ways()
        if settings.quick:
            ways.pop(_FLOAT32)
        runs: Runs = {}
        try:
            made = {way: partial(_run, way, command, scratch) for way, command in ways.items()}
            in_turns(runs, n_rounds, made)
        finally:  # what there is should not be lost
            if runs:
                body = _body(runs, asked, n_files, str(protocol))
                report(settings, "Beside others: a mixed folder", body)


def _copy_model(folder: Path) -> None:
    """Copy MiniLM in a hub's format."""
    folder.mkdir()
    for name in _OF_MODEL:
        shutil.copy(fetch(read_bundle("english")) / "text" / name, folder)


def _ways() -> dict[str, list[object]]:
    """The command of each product, without its arguments; precision is the last of them."""
    ours: list[object] = [sys.executable, "-m", "benchmarks.products.ours"]
    script = Path(__file__).with_name("peers.py")
    theirs: dict[str, list[object]] = {
        peer: [python, script, name]
        for peer, (python, name) in _PEERS.items()
        if Path(python).exists()
    }
    return {"ours, int8": ours, _FLOAT32: ours, **theirs}


def _run(way: str, command: list[object], scratch: Path) -> Run:
    note(way)
    precision = [""] if way == _FLOAT32 else []
    log = Path(tempfile.gettempdir()) / f"anymodal-{way.partition(',')[0].replace(' ', '-')}.log"
    with tempfile.TemporaryDirectory(dir=scratch) as store:
        folders = [scratch / "minilm", scratch / "files", Path(store), scratch / "asked.json"]
        return run([*command, *folders, *precision], log)


def _body(runs: Runs, asked: Asked, n_files: int, about: str) -> str:
    cost = [_cost(way, some, n_files) for way, some in runs.items()]
    found = [_found(way, some[0], asked) for way, some in runs.items()]
    heads = [
        "files read/CPU-s, with start",
        "without",
        "least and most",
        "peak memory, MB",
        "not read",
    ]
    kinds = [f"{kind}, first {k}" for kind in asked for k in ("", "ten")]
    n_asked = ", ".join(f"{len(questions):,} about {kind}" for kind, questions in asked.items())
    n_rounds = max(map(len, runs.values()))
    turns = f"{n_rounds} rounds in which all take turns, medians" if n_rounds > 1 else "One round"
    return "\n\n".join(
        [
            about.partition("\n")[2].strip(),
            _LEFT_OUT,
            f"{n_files:,} files; questions: {n_asked}. {turns}. CPU-seconds of all processes, each "
            "library with one thread; memory is the sum of PSS. Load of the machine at the end "
            f"{os.getloadavg()[0]:.1f}.",
            table(["", *heads], cost),
            table(["share of questions answered by", *[kind.strip() for kind in kinds]], found),
        ]
    )


def _cost(way: str, runs: list[Run], n_files: int) -> list[str]:
    unread = runs[0].said["unread"]
    n_read = n_files - len(unread)
    alone = sorted(n_read / run.store_cpu_s for run in runs)
    whole = median(n_read / (run.open_cpu_s + run.store_cpu_s) for run in runs)
    peak = median(run.peak_bytes for run in runs) / _MB
    suffixes = ", ".join(sorted({Path(name).suffix for name in unread}))
    return [
        way,
        f"{whole:.2f}",
        f"{median(alone):.2f}",
        f"{alone[0]:.2f}–{alone[-1]:.2f}",
        f"{peak:.0f}",
        f"{len(unread)} ({suffixes})" if unread else "0",
    ]


def _found(way: str, run: Run, asked: Asked) -> list[str]:
    cells = [way]
    for kind, questions in asked.items():
        pairs = list(zip(run.said["found"][kind], questions, strict=True))
        for k in (1, 10):
            right = sum(bool(set(names[:k]) & set(answers)) for names, (_, answers) in pairs)
            cells.append(f"{right / len(pairs):.3f}")
    return cells

"""Ingest 200 mixed files, or 2,000, with each product in turn, and ask all the same questions.

    python -m benchmarks.products TXTAI VECTRIX     # Pythons with these products
    python -m benchmarks.products TXTAI VECTRIX --files 2000
    python -m benchmarks.products TXTAI --library .demo/library/second --half second
    python -m benchmarks.products --quick           # a tenth of the files, ours in int8, the script

Run by ``make bench-products``, which makes the environments. All use the bundle's MiniLM.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.harness.reporting import note
from benchmarks.harness.results_pages import table, write_section
from benchmarks.library import documents
from benchmarks.library.questions import HALVES
from benchmarks.products.folder import N_FILES, Asked, make_folder
from benchmarks.products.folder import __doc__ as protocol
from benchmarks.products.measure import Run, Runs, in_turns, run
from encoder.models.bundle.declaration import read_bundle
from encoder.prepare.bundle.fetch import fetch

_SAMPLES, _DEBIAN = Path(".demo/imagenet"), Path(".demo/quality/debian")
_OF_MODEL = ("config.json", "tokenizer.json", "model.safetensors")
_HERE = Path(__file__).parent
_PEERS = {"txtai 9.14.0": "Txtai", "VectrixDB 2.2.0": "VectrixDB"}
"""As pages quote them, in the versions that the Makefile installs."""
_LEFT_OUT = """\
Left out: the peers read pictures and sounds with further extras or models of a hub, and txtai's
reader of PDF (docling) needs one too. Without a hub they do not find these files. Each cuts texts
as it does by itself; ours also matches words. txtai and VectrixDB run MiniLM in torch. haiku.rag
0.6.0, which pip takes for Python 3.11, has its vectors only from a server of Ollama, OpenAI or
Voyage, and is not run. The script has no reader of mails."""
_MB = 1024**2
_FLOAT32 = "ours, float32"
_N_ROUNDS = 3


def main() -> None:
    """Measure, print the results after each run, and write the section unless it is quick."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pythons", nargs="*", help="of txtai's environment, of VectrixDB's")
    parser.add_argument("--rounds", type=int, default=_N_ROUNDS)
    parser.add_argument("--files", type=int, default=N_FILES)
    parser.add_argument("--quick", action="store_true", help="one in ten, one round; not kept")
    parser.add_argument("--library", type=Path, help="ask about its documents instead")
    parser.add_argument("--half", choices=HALVES, default=HALVES[0], help="of its questions")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        n_wanted = N_FILES // 10 if words.quick else words.files
        files, about = scratch / "files", documents.__doc__ if words.library else protocol
        if words.library:
            asked = documents.copy_documents(words.library, words.half, files)
        else:
            asked = make_folder(files, _SAMPLES, _DEBIAN, n_wanted)
        (scratch / "asked.json").write_text(json.dumps(asked))
        _copy_model(scratch / "minilm")
        n_files, ways = len(list(files.iterdir())), _ways(words.pythons)
        if words.quick:
            ways.pop(_FLOAT32)
        body = ""
        try:
            n_rounds = 1 if words.quick else words.rounds
            for runs in in_turns(ways, n_rounds, lambda way: _run(way, ways[way], scratch)):
                body = _body(runs, asked, n_files, str(about))
                print(body, flush=True)
        finally:  # write what there is
            if body and words.library:
                command = f"python -m benchmarks.products TXTAI --library … --half {words.half}"
                write_section(f"Beside others: a library's documents ({words.half})", command, body)
            elif body and not words.quick:
                _write(body, words.files, words.rounds)


def _write(body: str, n_files: int, n_rounds: int) -> None:
    """Write the section for this number of files; ``make`` uses the default numbers."""
    size, turns = n_files != N_FILES, n_rounds != _N_ROUNDS
    words = f" --files {n_files}" * size + f" --rounds {n_rounds}" * turns
    command = f"python -m benchmarks.products TXTAI VECTRIX{words}"
    of_size = f" of {n_files:,} files" * size
    write_section(
        f"Beside others: a mixed folder{of_size}", command if words else "make bench-products", body
    )


def _copy_model(folder: Path) -> None:
    """Copy MiniLM in a hub's format."""
    folder.mkdir()
    for name in _OF_MODEL:
        shutil.copy(fetch(read_bundle("english")) / "text" / name, folder)


def _ways(pythons: list[str]) -> dict[str, list[object]]:
    """The command of each product, without its arguments; precision is the last of them."""
    ours = [sys.executable, "-m", "benchmarks.products.ours"]
    return {
        "ours, int8": ours,
        _FLOAT32: ours,
        "plain script": [sys.executable, "-m", "benchmarks.products.plain"],
        **{
            peer: [python, _HERE / "peers.py", name]
            for (peer, name), python in zip(_PEERS.items(), pythons, strict=False)
        },
    }


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


if __name__ == "__main__":
    main()

"""The embedded store compared with others' on the same vectors; one section of results/.

``python -m benchmarks.scale.beside PYTHON [--sizes 10000,100000] [--only NAME]``

Run by ``make bench-stores``, which makes the environment of the others. Figures also go into
a separate file, so that one store can be measured again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from benchmarks.harness.reporting import note
from benchmarks.harness.results_pages import table, write_section
from benchmarks.scale.corpus import Corpus

_HERE = Path(__file__).parent
_FIGURES = _HERE / "beside.json"
_PEERS = ("LanceDB", "LanceDB, indexed", "Qdrant, local", "Chroma")
_TENTH = 0.1
_N_QUERIES = 30
_MB = 2**20
_VERSIONS = "from importlib.metadata import version as v; print(v({!r}), end='')"
_Figures: TypeAlias = dict[str, dict[str, Any]]
_TITLE = "Stores as they grow: beside others"
_ABOUT = """
The same vectors of 384 dimensions, made by `benchmarks/scale/corpus.py`, each with a number and a
tag that a tenth has, written in parts of 1,000. Each library is in its own process, as its first
page has it, without a server: {versions}. LanceDB's index is IVF_HNSW_SQ, with a bitmap of the tag.
Ours keeps a file with path and facts for each vector, in Milvus Lite and in the index beside it.
30 queries, of the nearest ten.

The machine was busy throughout, so a clock shows mostly waiting: figures are CPU-milliseconds of
all threads, medians · least, and the least on the clock. "Open" is all CPU from the start of a
process to its first answer, with imports. Memory is what is resident at the end, with mapped files.
"""


def main() -> None:
    """Measure, and write the section after each store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("python", help="of the environment with LanceDB, Qdrant and Chroma")
    parser.add_argument("--sizes", default="10000,100000")
    parser.add_argument("--only", choices=["ours", *_PEERS])
    asked = parser.parse_args()
    ways = {name: [asked.python, str(_HERE / "peers.py"), name] for name in _PEERS}
    ways["ours"] = [sys.executable, "-m", "benchmarks.scale.ours", "ours"]
    for size in map(int, asked.sizes.split(",")):
        for name in [asked.only] if asked.only else ["ours", *_PEERS]:
            note(f"{name}, {size}")
            with tempfile.TemporaryDirectory(prefix="anymodal-beside-") as folder:
                _make(Path(folder), size)
                _keep(f"{name} · {size:,}", _measured(ways[name], Path(folder)))
            _write(asked.python)


def _make(folder: Path, size: int) -> None:
    corpus, rng = Corpus(size), np.random.default_rng(3)
    np.save(folder / "rows.npy", corpus.near(rng, size))
    np.save(folder / "tenth.npy", rng.random(size) < _TENTH)
    np.save(folder / "queries.npy", corpus.queries(_N_QUERIES))


def _measured(words: list[str], folder: Path) -> dict[str, Any]:
    """Fill a store in one process, query it in the next."""
    found: dict[str, Any] = {}
    for what in ("fill", "ask"):
        command = [*words, what, str(folder)]
        ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found |= json.loads(ran.stdout.splitlines()[-1])
    files = [path for path in (folder / "store").rglob("*") if path.is_file()]
    return {**found, "disk": sum(path.stat().st_size for path in files) / _MB}


def _kept() -> _Figures:
    found: _Figures = json.loads(_FIGURES.read_text()) if _FIGURES.exists() else {}
    return found


def _keep(name: str, figures: dict[str, Any]) -> None:
    _FIGURES.write_text(json.dumps({**_kept(), name: figures}, indent=1) + "\n")


def _write(python: str) -> None:
    heads = ["store · vectors", "fill, CPU-µs a vector", "open, CPU-ms", "plain", "on the clock"]
    heads += ["filter of 10 %", "on the clock", "recall at 10, plain · filter"]
    rows = [_row(name, of) for name, of in _kept().items()]
    body = _ABOUT.format(versions=_versions(python)) + "\n"
    body += table([*heads, "memory, MB", "disk, MB"], rows)
    write_section(_TITLE, "make bench-stores", body)


def _row(name: str, of: dict[str, Any]) -> list[str]:
    plain, tenth = of["plain"], of["filter"]
    return [
        name,
        f"{of['fill'][0]:,.0f}",
        f"{of['open']:,.0f}",
        f"{plain[0]:.1f} · {plain[1]:.1f}",
        f"{plain[3]:.1f}",
        f"{tenth[0]:.1f} · {tenth[1]:.1f}",
        f"{tenth[3]:.1f}",
        f"{of['recall']:.3f} · {of['recall of the filter']:.3f}",
        f"{of['memory']:,.0f}",
        f"{of['disk']:,.0f}",
    ]


def _versions(python: str) -> str:
    named = {"LanceDB": "lancedb", "Qdrant": "qdrant-client", "Chroma": "chromadb"}
    shown = []
    for name, package in named.items():
        words = [python, "-c", _VERSIONS.format(package)]
        ran = subprocess.run(words, capture_output=True, text=True, check=True)
        shown.append(f"{name} {ran.stdout}")
    return ", ".join(shown)


if __name__ == "__main__":
    main()

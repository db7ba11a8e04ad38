"""Fill stores of growing sizes and time what a user does with them; one section of results/.

``python -m benchmarks.scale [--sizes 10000,100000] [--store server|folder|lite] [--column NAME]``

Vectors, texts, tags, dates and paths are made by `benchmarks.scale.corpus`; nothing is encoded. The
server is the genuine one of the tests. Figures also go into a separate file, a column for
each ``--column``, so that two versions of the program can be compared.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

from benchmarks.harness.results_pages import table, write_section
from benchmarks.scale.clock import N_TIMES, SLOW_S, Figure
from benchmarks.scale.measures import Figures, filled, measured, opened_first
from tests.support.milvus_server import MilvusServer

_FIGURES = Path(__file__).with_name("figures.json")
_FILLED = "filled.json"
_TITLE = "Stores as they grow"
_ABOUT = Path(__file__).with_name("about.md")
"""What stands above the table; of columns, who ran beside them and what was found."""


def main() -> None:
    """Measure, and write the section."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="10000,100000")
    parser.add_argument("--store", choices=["server", "folder", "lite"], default="server")
    parser.add_argument("--column", default="now")
    parser.add_argument("--keep", type=Path, help="fill stores in this folder, once")
    asked = parser.parse_args()
    for size in map(int, asked.sizes.split(",")):
        column = f"{asked.store}, {size:,}: {asked.column}"
        with _place(asked.store, size, asked.keep) as (uri, folder):
            if not (folder / _FILLED).exists():
                figures = _in_child(filled, uri, size, folder, asked.store)
                (folder / _FILLED).write_text(json.dumps(figures))
            _write(column, json.loads((folder / _FILLED).read_text()))
            if asked.store == "server":
                _write(column, _in_child(opened_first, uri, size))
            for figures in measured(uri, size, folder):
                _write(column, figures)


def _in_child(work: Callable[..., Figures], *args: object) -> Figures:
    """Run in a child process, so that its memory is not counted for the searching process."""
    with ProcessPoolExecutor(1, get_context("spawn")) as child:
        return child.submit(work, *args).result()


@contextmanager
def _place(kind: str, size: int, kept: Path | None) -> Iterator[tuple[str, Path]]:
    """A store, empty unless it was kept: its address, and the folder that holds its data."""
    folder = kept / f"{kind}-{size}" if kept else Path(tempfile.mkdtemp(prefix="anymodal-scale-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if kind != "server":
            yield str(folder / "store"), folder
            return
        os.environ["QUERYNODE_SEGCORE_INTERIMINDEX_NPROBE"] = "128"  # as in compose.yaml
        os.environ["ANYMODAL_DATA"] = str(folder / "ours")
        with MilvusServer(folder, is_brisk=False) as server:
            yield server.uri, folder
    finally:
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)


def _write(column: str, new: Figures) -> None:
    """Add figures to a column, and show all of them."""
    figures: dict[str, Figures] = json.loads(_FIGURES.read_text()) if _FIGURES.exists() else {}
    figures.setdefault(column, {}).update(new)
    _FIGURES.write_text(json.dumps(figures, indent=1) + "\n")
    names = list(dict.fromkeys(name for one in figures.values() for name in one))
    rows = [[name, *(_shown(one.get(name)) for one in figures.values())] for name in names]
    body = _ABOUT.read_text().format(n=N_TIMES, limit_s=SLOW_S) + "\n" + table(["", *figures], rows)
    write_section(_TITLE, "python -m benchmarks.scale", body)


def _shown(figure: Figure | None) -> str:
    return " · ".join(map(_number, figure)) if figure else "–"


def _number(one: float) -> str:
    return f"{one:,.0f}" if one >= 10 else f"{one:.2g}"


if __name__ == "__main__":
    main()

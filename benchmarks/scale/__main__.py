"""Fill stores of growing sizes and time what a user does with them; one section of results/.

``python -m benchmarks.scale [--sizes 10000,100000] [--store server|lite] [--column NAME]``

Vectors, texts, tags, dates and paths are made by `benchmarks.scale.corpus`; nothing is encoded. The
server is the genuine one of the tests. Figures go into a file beside the section's, a column for
each ``--column``, so that two versions of the program can stand side by side.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.results import table, write_section
from benchmarks.scale.corpus import Corpus
from benchmarks.scale.measures import measured, open_filled
from tests.support.milvus_server import MilvusServer

_FIGURES = Path(__file__).with_name("figures.json")
_TITLE = "Stores as they grow"
_ABOUT = """
Random clusters of 384 dimensions, 56 % pictures and 44 % passages of texts, made by
`benchmarks/scale/corpus.py`; encoding is not in the times. Medians of {n} in milliseconds unless a
unit is said; a search that took more than {limit_s:g} s was tried once. A column is one version of
the program.

The machine was busy throughout (18 processes waited for two cores), more so in the columns "now":
fill, first query and memory do not compare there, factors of 10 and more do. "100,000: now" was
measured before the first index of words read its texts in pages instead of by asset. At 10,000 a
filter of 10 % still takes long: its rows are compared exactly, since the index finds too few of
them, probably that of rows which are not sealed yet.

"lite, 20,000" ran while 25 processes waited for the two cores: its times are many times those of a
machine at rest. Lists and deletes were tried once there: to list took in the import of the API's
modules, to delete the opening of Lite, which reads all rows. The next section has both without.
"""


def main() -> None:
    """Measure, and write the section."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="10000,100000")
    parser.add_argument("--store", choices=["server", "lite"], default="server")
    parser.add_argument("--column", default="now")
    asked = parser.parse_args()
    figures = json.loads(_FIGURES.read_text()) if _FIGURES.exists() else {}
    for size in map(int, asked.sizes.split(",")):
        with _empty(asked.store) as (uri, folder):
            corpus = Corpus(size)
            filled = open_filled(uri, corpus, folder)
            found = {**filled, **measured(uri, corpus, folder)}
        figures[f"{asked.store}, {size:,}: {asked.column}"] = found
        _FIGURES.write_text(json.dumps(figures, indent=1) + "\n")
        _write(figures)


@contextmanager
def _empty(kind: str) -> Iterator[tuple[str, Path]]:
    """A new store: its address, and the folder that holds its data."""
    folder = Path(tempfile.mkdtemp(prefix="anymodal-scale-"))
    try:
        if kind == "lite":
            yield str(folder / "store"), folder
            return
        with MilvusServer(folder) as server:
            yield server.uri, folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write(figures: Mapping[str, Mapping[str, float]]) -> None:
    from benchmarks.scale.measures import N_TIMES, SLOW_S

    names = list(dict.fromkeys(name for column in figures.values() for name in column))
    rows = [[name, *(_shown(column.get(name)) for column in figures.values())] for name in names]
    body = _ABOUT.format(n=N_TIMES, limit_s=SLOW_S) + "\n" + table(["", *figures], rows)
    write_section(_TITLE, "python -m benchmarks.scale", body)


def _shown(figure: float | None) -> str:
    if figure is None:
        return "–"
    return f"{figure:,.0f}" if figure >= 10 else f"{figure:.2g}"


if __name__ == "__main__":
    main()

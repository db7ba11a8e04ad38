"""Fill stores of growing sizes and time what a user does with them; one section of results/.

``python -m benchmarks.scale [--sizes 10000,100000] [--store server|lite|index] [--column NAME]``

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
_ABOUT = """
Random clusters of 384 dimensions, 56 % pictures and 44 % passages of texts, made by
`benchmarks/scale/corpus.py`; encoding is not in the times. Medians of {n} in milliseconds unless a
unit is said; a search that took more than {limit_s:g} s was tried once. A column is one version of
the program.

Columns "before" and "now" are of 2026-11-27, on two cores of an AMD EPYC. The machine was busy
throughout (18 processes waited for two cores), more so in the columns "now": fill, first query and
memory do not compare there, factors of 10 and more do. "100,000: now" was measured before the first
index of words read its texts in pages instead of by asset. At 10,000 a filter of 10 % still takes
long: its rows are compared exactly, since the index finds too few of them, probably that of rows
which are not sealed yet.

"lite, 20,000" ran while 25 processes waited for the two cores: its times are many times those of a
machine at rest. Lists and deletes were tried once there: to list took in the import of the API's
modules, to delete the opening of Lite, which reads all rows. The next section has both without.

"index, 100,000: now" is the index beside Lite alone (``--store index``), which a million segments
with Lite's rows would take hours to reach; two figures are the clock and the CPU of the process.
Both ran beside the test suite, 100,000 with 8 processes waiting for the two cores and a million at
the lowest priority, so that the clock shows mostly waiting and caches were shared. The first
opening took in the import of libraries. Memory is what is resident, with mapped files and the
benchmark's own vectors. Most of a million's 4.3 GB were names of files (5 KB an asset, and more
while they were read again), and that reading is in the CPU of searches, most likely: without it the
next section has 500 MB and 56 to 75 CPU-ms for 617,000 segments.

Columns "Xeon" are of 2026-11-28, the index alone again, on one core of an Intel Xeon with AMX that
3 to 8 processes waited for. The last tenth of 100,000 cost 312 CPU-µs a segment before the keys of
assets were found by an index (170 since then; the first tenth 87 to 98).

"server, 377,000: Xeon" is of the same day, core and busyness, and worse: 13 to 20 processes
waited, most with a higher priority, so its clock is 20 to 100 times what the work takes. Three
figures are the clock, the CPU of this process and of Milvus 2.3.5, in which index building is
counted, 100 to 200 ms in each second meanwhile. Of the rows 286,107 were in the index while it was
asked, the others still growing, with 128 of 128 lists of Milvus's own rough index. The second
memory is the most there was. Sealing the rest and deletes were not reached: Milvus had not the CPU
to renew its lease of 15 s in etcd, and shut itself down. The next section has them.

"server, 377,000: quiet" and "quiet, sealed" are of 2026-11-28, two cores of that Xeon at rest; the
second is the server started again with all rows in its index. Figures of filling are the first's.
"At rest, later" is the same server two hours later, whose deletions may have left rows
that are not sealed; a first query waits one second for names there. Columns "at rest" of the index
are stores that were filled before, with codes of half a byte a dimension (decision 36); the second
figure is the CPU of two threads that share a core's units, which counts more than one thread would.

The server of 100,000 was filled again and traced by hand, in CPU-milliseconds of this process and
of Milvus, which also tidies up meanwhile:

- Page 60 asked for 4,804 rows of each kind with 14 fields, 50 and 550 to 1,260 ms a kind. It asks
  for 703 now: 10 and 70 to 320 a kind; the whole page 42 and 210.
- A filter of 10 % takes 12 and 30, of dates 14 and 40, no filter 12 and 30: two searches side by
  side, then one query for 42 commit rows. So what the clock adds to a filter is waiting for a core.
  All threads of a search read the constants again every two seconds, four calls; it is one now.
- Deleting a file takes 21 and 130, and 1.2 to 1.6 s on the clock: 13 calls one after the other, of
  which two wait for the server's next time tick, 294 and 369 ms. The first of them is the
  benchmark's own look-up after the delete before. The other sees what other processes have written
  into the folder; it was left, since a delete would miss that.
"""


def main() -> None:
    """Measure, and write the section."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="10000,100000")
    parser.add_argument("--store", choices=["server", "lite", "index"], default="server")
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
    body = _ABOUT.format(n=N_TIMES, limit_s=SLOW_S) + "\n" + table(["", *figures], rows)
    write_section(_TITLE, "python -m benchmarks.scale", body)


def _shown(figure: Figure | None) -> str:
    return " · ".join(map(_number, figure)) if figure else "–"


def _number(one: float) -> str:
    return f"{one:,.0f}" if one >= 10 else f"{one:.2g}"


if __name__ == "__main__":
    main()

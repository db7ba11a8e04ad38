"""Prints ``benchmarks/large_stores.md``: what large stores cost, computed from what was measured.

python -m scripts.scale_table > benchmarks/large_stores.md
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

SIZES = (10_000_000, 100_000_000, 1_000_000_000)
DIM = 385
"""The dimensions of a row of the bundle: 384 of an embedding, and one for calibration."""
_LINKS_BYTES = 140
MEASURED_BYTES = 5300
"""Memory of Milvus 2.3.5 per segment with HNSW; 10,300 at its peak."""
PEAK = 10_300 / MEASURED_BYTES
DISK_BYTES = 2_548 * 2**20 / 377_000
"""Per segment, just after 377,000 were written; from 10,000 to 100,000 it was 5.1 KB."""
FILL_CPU_MS = 0.49 + 1.70
"""CPU of the writing process and of the server, which builds indexes, at 377,000 segments."""
FOLDERS = (200_000, 1_000_000)
FOLDER = {
    "search by meaning, CPU-ms": (14, 27),
    "filter of 10 %, CPU-ms": (15, 33),
    "filter of 50 %, CPU-ms": (14, 32),
    "words and a filter, CPU-ms": (28, 56),
    "first search of a process, CPU-ms": (160, 360),
    "memory of a process that searches, MB": (442, 580),
    "disk of the index, MB": (528, 2500),
}
"""Measured by sizes of `FOLDERS`."""
_SERVER_BYTES = 200e9
"""Memory of a machine that can be rented without asking anybody."""


@dataclass(frozen=True)
class Index:
    """What an index of `search.store.milvus.indexes` keeps of each row, in bytes."""

    name: str
    memory_bytes: float
    why: str


INDEXES = (
    Index("HNSW", 4 * DIM + _LINKS_BYTES, "4 bytes a dimension, and links"),
    Index("HNSW_SQ", 3 * DIM + _LINKS_BYTES, "1 + 2 bytes a dimension, and links"),
    Index("IVF_RABITQ", 1.125 * DIM, "1/8 + 1 bytes a dimension"),
)
_ROWS_BYTES = MEASURED_BYTES - INDEXES[0].memory_bytes
"""All of a segment except its vector: its text, place and what filters use."""

_HEAD = f"""\
# What ten million segments cost, and a billion

Computed by `python -m scripts.scale_table`, for the 384 dimensions of the bundle. Nothing of this
size has been run: the largest store on a server had 377,000 segments. Measured on Milvus 2.3.5,
with HNSW (`python -m benchmarks.scale`, and findings before it) and multiplied:

- {MEASURED_BYTES / 1000:.1f} KB of memory a segment with HNSW, {PEAK:.1f} times as much at
  the peak, while parts are merged; {_ROWS_BYTES / 1000:.1f} KB of it are no vector.
- {DISK_BYTES / 1000:.1f} KB of disk a segment just after it was written, with parts that were
  merged and are still there.
- {FILL_CPU_MS:.2f} ms of CPU to write a segment, most of it in the server, which builds the index;
  encoding is not in it.

What an index keeps of a vector is counted from its format:

{"".join(f"- `{one.name}`: {one.why}{chr(10)}" for one in INDEXES)}
`+mmap` keeps the same on the disk, and as much of it in memory as there is room for.
"""

_FOOT = """\
## What breaks first

- **10 million**: one server with HNSW. Memory while parts are merged comes first: plan for that
  peak, not for the vectors. Use Milvus 2.6, which finds words by itself.
- **100 million**: the columns beside the vectors are most of the memory, whatever the index. Have
  Milvus map them (`queryNode.mmap.scalarField: true`), take IVF_RABITQ, and a cluster
  (`compose/helm`). Each API process keeps the names of all assets, about 1.1 KB
  each: up to 110 GB, if each segment is an asset.
- **1 billion**: names of assets no longer fit into a process. `doctor` and the start of `watch`
  read all commit rows, 16,384 ids in about .3 s: five hours. A store for each part of the library
  is what we would try first; it has not been run at such a size.
"""


def page() -> str:
    """The whole page, as Markdown."""
    return "\n".join([_HEAD, *_tables(), _FOOT]).rstrip("\n")


def _tables() -> Iterator[str]:
    yield "## In a folder\n"
    yield _row("", *(f"{size:,}" for size in FOLDERS), "10,000,000")
    yield _row(*["---"] * (len(FOLDERS) + 2))
    for name, figures in FOLDER.items():
        slope, start = np.polyfit(FOLDERS, figures, 1)
        yield _row(name, *(f"{one:,.0f}" for one in (*figures, slope * SIZES[0] + start)))
    yield """
Measured on 2026-12-01 with 15 to 20 queries each, over stores that `python -m benchmarks.scale`
fills, on two cores of an AMD EPYC beside other work. 10 million is on the straight line through
both sizes, which two points cannot show to be straight. Move to a server when several machines
write, or when every search may not take a core for a quarter of a second.
"""
    yield "## Memory of Milvus in GB, and machines of 200 GB for its peak\n"
    yield _row("index", *(f"{size // 10**6:,} million" for size in SIZES))
    yield _row(*["---"] * (len(SIZES) + 1))
    for index in INDEXES:
        of_row = index.memory_bytes + _ROWS_BYTES
        yield _row(f"`{index.name}`", *(_memory(of_row * size) for size in SIZES))
    mapped = "`IVF_RABITQ`, other columns mapped"
    yield _row(mapped, *(_memory(INDEXES[2].memory_bytes * size) for size in SIZES))
    yield "\n## The rest\n"
    yield _row("", *(f"{size // 10**6:,} million" for size in SIZES))
    yield _row(*["---"] * (len(SIZES) + 1))
    yield _row("disk, GB", *(f"{DISK_BYTES * size / 1e9:,.0f}" for size in SIZES))
    hours = (FILL_CPU_MS * size / 3.6e6 for size in SIZES)
    yield _row("CPU hours to write", *(f"{one:,.0f}" for one in hours))
    yield ""


def _memory(n_bytes: float) -> str:
    machines = -(-n_bytes * PEAK // _SERVER_BYTES)
    return f"{n_bytes / 1e9:,.0f} ({machines:,.0f})"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    print(page())

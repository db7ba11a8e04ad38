"""The demo: a small mixed folder is ingested, then searched across modalities.

Run by ``make demo``. Exits with an error if a query does not find what a person would expect.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from time import perf_counter

from rich.console import Console

from encoder import MultiModalEncoder
from encoder.inputs import AudioFormat, read_argument
from encoder.types import Item
from examples.queries import QUERIES, DemoQuery
from examples.samples import make_samples
from search import Hit, Query, SearchEngine, SearchResult, open_store
from workers.cli.output import hit_lines, latency_line

HOME = Path(".demo")
MEDIA, STORE = HOME / "media", HOME / "store"


def main() -> int:
    """Make the samples, ingest them with the command line, ask every query."""
    screen = Console(highlight=False)
    started = perf_counter()
    screen.rule("[bold]1. Sample media[/]")
    samples = make_samples(MEDIA)
    screen.print(f"{len(samples)} files in {MEDIA}; their licences are in {MEDIA}/SOURCES.md")
    screen.rule("[bold]2. Ingest[/]")
    shutil.rmtree(
        STORE, ignore_errors=True
    )  # an older version's embeddings may be of a different space
    anymodal = Path(sys.executable).with_name("anymodal")
    subprocess.run([anymodal, "ingest", MEDIA, "--store", STORE], check=True)
    screen.rule("[bold]3. Search[/]")
    missed = ask_all(screen)
    found = len(QUERIES) - len(missed)
    screen.print(f"[bold]{found} of {len(QUERIES)}[/] queries found what was expected,", end=" ")
    screen.print(f"{perf_counter() - started:.0f} s in all. Now try your own:")
    screen.print(f'  .venv/bin/anymodal search --store {STORE} "a sentence"')
    for query in missed:
        screen.print(f"[red]missed:[/] {query.title}: wanted {query.expect}")
    return 1 if missed else 0


def ask_all(screen: Console) -> list[DemoQuery]:
    """Ask every query; return those that missed what they should find."""
    encoder = MultiModalEncoder()
    store = open_store(
        str(STORE),
        encoder.space.fingerprint,
        encoder.embed_dim,
        calibration=encoder.space.calibration,
    )
    engine = SearchEngine(encoder, store)
    missed = []
    try:
        for query in QUERIES:
            result = engine.search(Query(items_of(query), query.modalities, limit=3, moments=0))
            show(screen, query, result)
            if not any(is_expected(query, hit) for hit in result.hits):
                missed.append(query)
    finally:
        store.close()
    return missed


def is_expected(query: DemoQuery, hit: Hit) -> bool:
    """Whether a hit is the file, and the moment of it, that a person would expect."""
    if Path(hit.uri).name != query.expect:
        return False
    if query.at_s is None or hit.start_s is None or hit.end_s is None:
        return True
    return hit.start_s < query.at_s[1] and hit.end_s > query.at_s[0]


def items_of(query: DemoQuery) -> list[Item]:
    """The parts of a demo query; file names are looked up among the samples."""
    given = {
        "text": query.text,
        "image": query.image and MEDIA / query.image,
        "audio": query.audio and MEDIA / query.audio,
    }
    return [
        item
        for kind, value in given.items()
        if value
        for item in read_argument(kind, value, AudioFormat()).items
    ]


def show(screen: Console, query: DemoQuery, result: SearchResult) -> None:
    """One query's hits and the time of each stage."""
    screen.print(f"[bold underline]{query.title}[/]")
    for line in hit_lines(result.hits):
        screen.print(line)
    screen.print(f"[dim]{latency_line(result.latency_s)}[/]\n")


if __name__ == "__main__":
    sys.exit(main())

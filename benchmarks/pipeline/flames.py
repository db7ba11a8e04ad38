"""Where the time goes: flame graphs of an ingest and of queries.

Also how near towers come to what the processor can do (`benchmarks.towers.limits`). Run by
``make bench-profile``.

py-spy samples a separate process 100 times a second. The graphs (SVG) go to ``.demo/flames`` and
are not committed; the shares of samples by place are. Only running threads count: those that wait
for a lock, a queue or a socket are left out.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmarks.harness.reporting import note
from benchmarks.harness.results_pages import table, write_section
from benchmarks.pipeline.ingest import NAMES, make_corpus
from benchmarks.towers import limits
from examples.samples import make_samples

GRAPHS = Path(".demo/flames")
_OF_TOWERS = ("base", "exported/", "hub/", "lazy", "image", "audio/", "text/", "video")
"""What works on items in `encoder/towers`; its `dispatch` is in every stack of encoding."""
PLACES: Mapping[str, tuple[str, ...]] = {
    "importing modules": ("<frozen importlib",),
    "reading text in pictures": ("(encoder/services/reader",),
    "speech found and written down": (
        "(encoder/services/speech",
        "(encoder/services/whisper",
    ),
    "networks of towers": ("run (encoder/runtime/",),
    "preparing items for towers": (
        *(f"(encoder/towers/{part}" for part in _OF_TOWERS),
        "prepare_all (encoder/",
    ),
    "opening models": ("(encoder/models/", "(encoder/runtime/"),
    "languages of texts": ("(ingest/language",),
    "the store": ("(search/store/", "(pymilvus/", "(milvus_lite/", "(grpc/"),
    "decoders": ("(ingest/isolate/",),
    "identifying files": ("(ingest/sources/", "(workers/pipeline/places"),
    "ranking": ("(search/ranking/", "(search/lexical/", "(search/query/"),
}
"""Parts of frames by place; the first place that has a part in a stack gets its samples."""
_WAITS = (
    "wait (threading.py",
    "_worker (concurrent/futures",
    "select (selectors.py",
    "_serve (grpc",
)
_EVERYTHING_ELSE = "all else"
_OPTIONS = ("--threads", "--rate=100")
_N_FILES, _N_QUERIES = 50, 200


def shares(stacks: Iterable[str]) -> dict[str, float]:
    """The share of running samples by place, largest first.

    Args:
        stacks: lines in py-spy's raw format: frames joined by semicolons, outermost first; a count.
    """
    found = Counter[str]()
    for line in stacks:
        stack, _, number = line.rpartition(" ")
        if not any(wait in stack.rpartition(";")[2] for wait in _WAITS) and ";" in stack:
            found[_place(stack)] += int(number)
    return {place: n / found.total() for place, n in found.most_common()}


def _done(work: str, store: Path) -> Path:
    return Path(f"{store}.{work}")


def _place(stack: str) -> str:
    for place, parts in PLACES.items():
        if any(part in stack for part in parts):
            return place
    return _EVERYTHING_ELSE


def record(work: str, folder: Path, graph: Path) -> dict[str, float]:
    """Sample ``ingest`` or ``query`` twice: for the graph, and for the shares by place."""
    raw = folder / f"{work}.raw"
    for form, path in (("flamegraph", graph), ("raw", raw)):
        note(f"{work}, {form}")
        store = folder / ("raw" if work == "query" else form)
        words = [sys.executable, "-m", "benchmarks.pipeline.flames", work, folder, store]
        spy = [Path(sys.executable).with_name("py-spy"), "record", *_OPTIONS]
        how = [f"--format={form}", f"--output={path}", "--"]
        ran = subprocess.run([*map(str, [*spy, *how, *words])], capture_output=True, check=False)
        if not _done(work, store).exists():  # py-spy does not report it
            raise RuntimeError(ran.stderr.decode(errors="replace"))
    return shares(raw.read_text().splitlines())


def ingest(folder: Path, store: Path) -> None:
    """Ingest the folder's files with the default model."""
    from encoder import MultiModalEncoder
    from search import open_store
    from workers.pipeline import IngestPipeline

    encoder = MultiModalEncoder()
    space = encoder.space
    rows = open_store(str(store), space.fingerprint, space.embed_dim, calibration=space.calibration)
    IngestPipeline(encoder, rows).run([str(folder / "media")])
    rows.close()


def query(_: Path, store: Path) -> None:
    """Search what an ingest has stored."""
    from encoder import MultiModalEncoder
    from encoder.types import TEXT, Item
    from search import Query, SearchEngine, open_store

    encoder = MultiModalEncoder()
    space = encoder.space
    rows = open_store(str(store), space.fingerprint, space.embed_dim, calibration=space.calibration)
    engine = SearchEngine(encoder, rows)
    for number in range(_N_QUERIES):
        engine.search(Query([Item(TEXT, f"a harbour with {number} lanterns")], limit=10))
    rows.close()


_WORKS = {"ingest": ingest, "query": query}


def main() -> None:
    """Measure, print and write both sections."""
    if len(sys.argv) > 1:
        work, folder, store = sys.argv[1], *map(Path, sys.argv[2:])
        _WORKS[work](folder, store)
        _done(work, store).touch()
        return
    GRAPHS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "media").mkdir()
        make_samples(folder / "samples")
        make_corpus(folder / "media", folder / "samples", NAMES[:: len(NAMES) // _N_FILES])
        found = {work: record(work, folder, GRAPHS / f"{work}.svg") for work in _WORKS}
    body = "\n\n".join(_table(work, one) for work, one in found.items())
    print(body)
    write_section("Where the time goes", "make bench-profile", body)
    limits.main()


def _table(work: str, found: Mapping[str, float]) -> str:
    return table([work, "share of samples, %"], [[p, f"{100 * s:.1f}"] for p, s in found.items()])


if __name__ == "__main__":
    main()

"""A gate for the kinds of files: are the files of a folder found, or set aside for a clear reason?

make test-corpus CORPUS=FOLDER
python -m tests.corpus FOLDER [--search] [--json FILE] [--least .96]

Each file is decoded as `anymodal ingest` would. What is stored is compared with what another
program reads in it, where that is installed: pdftotext, catdoc, catppt, xls2csv, pandoc; openpyxl
and python-pptx are there. With --search all is stored, and each file is asked for by its own words,
or by its own picture or sound. The exit code is 1 if a file is lost in silence, or fewer than the
least share are found or set aside for a clear reason.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from encoder.errors import AnymodalError, MediaError
from encoder.types import TEXT, Item
from ingest import IngestConfig, Segment, identify, ingest
from ingest.kinds import kind_of
from ingest.kinds.archive import ARCHIVE, Archive
from ingest.pipeline import whole
from ingest.types import Failure

FOUND, ASIDE, UNCLEAR, LOST = "found", "set aside", "unclear", "lost in silence"
LEAST_SHARE_OF_WORDS, _MOST_MISSING = 0.6, 5
"""Other programs also read headers, alternative texts and field codes, and join words otherwise."""

_WORD = re.compile(r"[^\W\d_]{4,}")
# What a person cannot act on: the words of Python and of libraries.
_UNCLEAR = re.compile(
    r"Traceback|NoneType|object has no attribute|index out of range|KeyError|not subscriptable"
    r"|unexpected keyword|codec can't|panicked|Errno"
)
_MOST_REASON_CHARS = 450
_CONTAINERS = (*Archive.suffixes, ".eml", ".msg", ".mbox", ".ooxml", ".oxt", ".asice", ".asics", "")
_TIE = 0.01
_MOST_PARTS = 5
"""Parts of a document that would each be an asset are junk; a packed drawing has one file in it."""

_COMMANDS: Mapping[str, Sequence[str]] = {
    ".dotx": ("pandoc", "--from", "docx", "--to", "plain", "--sandbox", "{}"),
    ".pdf": ("pdftotext", "-q", "{}", "-"),
    ".doc": ("catdoc", "-d", "utf-8", "{}"),
    ".ppt": ("catppt", "-d", "utf-8", "{}"),
    ".xls": ("xls2csv", "-d", "utf-8", "{}"),
    **dict.fromkeys(
        (".docx", ".odt", ".epub", ".rtf", ".html", ".htm", ".ipynb", ".fb2"),
        ("pandoc", "--to", "plain", "--sandbox", "{}"),
    ),
}


_OF_UTF8 = (".html", ".htm", ".rtf")


@dataclass
class Outcome:
    """What became of a file; ``why`` says it if it was not found."""

    file: str
    suffix: str
    state: str = ""
    why: str = ""
    kind: str = ""
    segments: dict[str, int] = field(default_factory=dict)
    reference: str = ""
    n_reference_words: int = 0
    n_missing_words: int = 0


def words(text: str) -> set[str]:
    """Its different words of four letters or more, in lower case."""
    return {word.lower() for word in _WORD.findall(text)}


def reference_words(path: Path) -> tuple[str, set[str]]:
    """A program that reads such files, and the words that it finds; empty if there is none."""
    suffix = path.suffix.lower()
    readers: dict[str, Callable[[Path], Iterator[str]]] = {".xlsx": _sheets, ".pptx": _slides}
    if suffix in readers:
        try:
            return readers[suffix].__name__, words(" ".join(readers[suffix](path)))
        except Exception:  # noqa: BLE001  (the library cannot read it)
            return "", set()
    command = _COMMANDS.get(suffix, ("",))
    if not shutil.which(command[0]):
        return "", set()
    arguments = [part.format(path) for part in command]
    try:
        run = subprocess.run(arguments, capture_output=True, timeout=30, check=False)
    except subprocess.TimeoutExpired:
        return "", set()
    # Programs that guess an encoding guess wrong in old files; then no word is like any of ours.
    failed = run.returncode != 0 or (suffix in _OF_UTF8 and not _is_utf8(path))
    return ("", set()) if failed else (command[0], words(run.stdout.decode("utf-8", "replace")))


def _is_utf8(path: Path) -> bool:
    try:
        path.read_text("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _sheets(path: Path) -> Iterator[str]:
    from openpyxl import load_workbook

    with closing(load_workbook(path, read_only=True, data_only=True)) as workbook:
        for sheet in workbook.worksheets:
            for row in sheet.iter_rows(values_only=True):
                yield from (cell for cell in row if isinstance(cell, str))


def _slides(path: Path) -> Iterator[str]:
    from pptx import Presentation

    for slide in Presentation(str(path)).slides:
        yield from (shape.text_frame.text for shape in slide.shapes if shape.has_text_frame)


def judge(path: Path, name: str, config: IngestConfig) -> Outcome:
    """Decode a file and compare it with what another program reads."""
    outcome = Outcome(name, path.suffix.lower())
    failures: list[Failure] = []
    segments: list[Segment] = []
    with suppress(MediaError):  # which `ingest` reports too
        outcome.kind = kind_of(identify(path, config).media_type).name
    try:
        segments = list(ingest(path, config, failures.append))
    except AnymodalError as error:
        outcome.state, outcome.why = UNCLEAR, f"raised: {error}"
        return outcome
    outcome.segments = dict(Counter(str(segment.modality) for segment in segments))
    reason = failures[0].reason if failures else ""
    if not segments:
        outcome.why = reason.replace(str(path), path.name)
        is_clear = len(outcome.why) <= _MOST_REASON_CHARS and not _UNCLEAR.search(reason)
        outcome.state = LOST if not reason else ASIDE if is_clear else UNCLEAR
        return outcome
    stored = " ".join(str(s.content) for s in segments if s.modality == TEXT)
    outcome.state = FOUND
    if set(outcome.segments) == {str(TEXT)} and not words(stored) - words(path.stem):
        named = " ".join(stored.split())
        is_name = named.lower() in (path.stem.lower(), path.name.lower())
        if is_name and not reference_words(path)[1] & words(named):
            outcome.state, outcome.why = LOST, f"nothing is stored but {named!r}"
    n_assets = len({segment.asset_id for segment in segments})
    if outcome.suffix not in _CONTAINERS and n_assets > _MOST_PARTS:
        outcome.state, outcome.why = UNCLEAR, f"one file became {n_assets} assets"
    if outcome.state == FOUND and outcome.suffix not in _CONTAINERS:
        _compare(outcome, path, words(stored))
    return outcome


def _compare(outcome: Outcome, path: Path, stored: set[str]) -> None:
    outcome.reference, expected = reference_words(path)
    missing = expected - stored
    outcome.n_reference_words, outcome.n_missing_words = len(expected), len(missing)
    has_pictures = bool(outcome.segments.get("image"))
    if len(missing) > max(_MOST_MISSING, len(expected) * (1 - LEAST_SHARE_OF_WORDS)) and not (
        has_pictures and not stored  # a scan, whose words are read from the picture
    ):
        outcome.state = LOST
        some = ", ".join(sorted(missing)[:5])
        outcome.why = f"{len(missing)} of {len(expected)} words are missing: {some}"


def search_all(folder: Path, outcomes: Sequence[Outcome]) -> None:
    """Store the folder, and ask for each file by itself; those not among ten hits are lost."""
    from encoder import MultiModalEncoder
    from search import Query, SearchEngine, open_store
    from workers.pipeline import IngestPipeline

    encoder = MultiModalEncoder()
    space = encoder.space
    config = IngestConfig()
    with TemporaryDirectory() as home:
        store = open_store(home, space.fingerprint, space.embed_dim, calibration=space.calibration)
        try:
            IngestPipeline(encoder, store).run([str(folder)])
            engine = SearchEngine(encoder, store)
            for outcome in outcomes:
                path = folder / outcome.file
                if outcome.state != FOUND or outcome.kind == ARCHIVE:
                    continue
                asset = identify(path, config)
                item = whole(asset, config)
                if item.modality == TEXT:
                    item = Item(TEXT, " ".join(str(item.content).split()[:40]))
                # The same text in many markups is found as well as its equals, in any order.
                hits = engine.search(Query([item], limit=100)).hits
                least = hits[min(9, len(hits) - 1)].score - _TIE if hits else 0.0
                if asset.asset_id not in [hit.asset_id for hit in hits if hit.score >= least]:
                    outcome.state, outcome.why = LOST, "not among ten hits for its own content"
        finally:
            store.close()


def report(outcomes: Sequence[Outcome], least: float) -> bool:
    """Print a table by suffix, what is wrong, and the shares; whether the gate is passed."""
    by_suffix: dict[str, Counter[str]] = defaultdict(Counter)
    for outcome in outcomes:
        by_suffix[outcome.suffix][outcome.state] += 1
    states = (FOUND, ASIDE, UNCLEAR, LOST)
    print(f"{'suffix':14}" + "".join(f"{state:>17}" for state in states))
    for suffix, counts in sorted(by_suffix.items()):
        print(f"{suffix or '-':14}" + "".join(f"{counts[state] or '':>17}" for state in states))
    for outcome in outcomes:
        if outcome.state in (UNCLEAR, LOST):
            print(f"{outcome.state}: {outcome.file}: {outcome.why}")
    totals = Counter(outcome.state for outcome in outcomes)
    share = (totals[FOUND] + totals[ASIDE]) / len(outcomes)
    compared = sum(1 for outcome in outcomes if outcome.reference)
    print(
        f"{len(outcomes)} files, {len(by_suffix)} suffixes: {totals[FOUND]} found, {totals[ASIDE]} "
        f"set aside for a clear reason ({share:.1%} together), {totals[UNCLEAR]} unclear, "
        f"{totals[LOST]} lost in silence; {compared} compared with another program"
    )
    return share >= least and not totals[LOST]


def main() -> int:
    """Judge a folder; 1 if it is below the bar."""
    parser = argparse.ArgumentParser(prog="python -m tests.corpus", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--search", action="store_true", help="store all, and ask for each file")
    parser.add_argument("--json", type=Path, help="takes the outcome of each file")
    parser.add_argument("--least", type=float, default=0.96)
    given = parser.parse_args()
    folder = given.folder.resolve()
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    if not files:
        print(f"{folder} holds no files.", file=sys.stderr)
        return 2
    config = IngestConfig(isolate=True)
    outcomes = []
    for number, path in enumerate(files, 1):
        outcomes.append(judge(path, str(path.relative_to(folder)), config))
        print(f"\r{number} of {len(files)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    if given.search:
        search_all(folder, outcomes)
    if given.json:
        given.json.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=1))
    return 0 if report(outcomes, given.least) else 1


if __name__ == "__main__":
    sys.exit(main())

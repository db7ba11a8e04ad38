"""Make the library, ingest it, ask, and report. See `benchmarks.library`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from shutil import copy, copytree

from benchmarks.harness.results_pages import write_section
from benchmarks.library import pairs, unanswered
from benchmarks.library.asking import asked_of, engine_over, ingest
from benchmarks.library.corpus import (
    N_NEWS,
    SOURCES,
    Facts,
    mails,
    make,
    news,
    photographs,
)
from benchmarks.library.questions import HALVES, questions
from benchmarks.library.report import report, words, wrong
from benchmarks.library.writing import Written, write_text

FOLDER = Path(".demo") / "library"
_N_MORE = 1000
_TITLES = {
    "all": "A mixed library",
    "texts": "A mixed library: with 1,000 further texts",
    "photos": "A mixed library: with 1,000 further photos",
    "pairs": "A mixed library: answers in another language",
    "unanswered": "Questions that nothing answers",
}


def grown(part: str, folder: Path, store: Path, made: Mapping[str, Facts]) -> Path:
    """A copy of the store with 1,000 files more, of which none was asked for.

    They are photographs, or German news and English mails, plain text each. Some may answer as well
    as the file that a question is about.
    """
    more, larger = folder / f"more-{part}", folder / f"store-{part}"
    if part == "photos" and not more.exists():
        more.mkdir()
        shown = " ".join(facts["of"] for facts in made.values())
        free = [path for number, path in photographs().items() if str(number) not in shown]
        for path in free[-_N_MORE:]:
            copy(path, more)
    elif not more.exists():
        more.mkdir()
        given, taken = news(), {facts["of"] for facts in made.values()}
        used = {n * len(given) // N_NEWS for n in range(N_NEWS)}
        others = [text for n, text in enumerate(given) if n not in used][: _N_MORE // 2]
        for n, text in enumerate(others):
            title, _, body = text.partition(". ")
            write_text(more / f"bericht-{n:03}.txt", Written("", "de", "", title, [body or title]))
        unasked = [path for key, path in mails().items() if f"ham:{key}" not in taken]
        for n, path in enumerate(unasked[: _N_MORE - len(others)]):
            copy(path, more / f"g{n:03}.eml")
    if not larger.exists():
        copytree(store, larger)
    ingest(more, larger)
    return larger


def main() -> None:
    """As the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.library")
    parser.add_argument("part", nargs="?", choices=_TITLES, default="all")
    parser.add_argument("--half", choices=HALVES, default=HALVES[0])
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of files, manifest and stores")
    parser.add_argument("--store", type=Path, help="search this one, ingest nothing")
    parser.add_argument("--ablate", action="store_true", help="ask again without words")
    parser.add_argument("--wrong", action="store_true", help="list what was not found first")
    parser.add_argument("--write", action="store_true", help="write a section of the results")
    given = parser.parse_args()
    folder, part = given.folder.resolve(), given.part
    if part == "unanswered":
        print(unanswered.measure(given.store or folder / "store", given.half))
        return
    if SOURCES[given.half].nth:
        folder /= given.half
    made, answers = make(folder, SOURCES[given.half]), []
    wanted = questions(made, given.half)
    if part == "pairs":
        body = pairs.measure(folder / "pairs", given.store)
    else:
        store = given.store or folder / "store"
        if not given.store:
            ingest(folder / "files", store)
        if part != "all":
            store = grown(part, folder, store, made)
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
        title = _TITLES[part] + f" ({given.half})" * (given.half != HALVES[0])
        write_section(title, command, body)


if __name__ == "__main__":
    main()

"""Make the library, ingest it, ask, and report. See `benchmarks.library`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from benchmarks.harness.results_pages import table, write_section
from benchmarks.library.asking import Answer, ask, engine_over, ingest
from benchmarks.library.corpus import LANGUAGES, Facts, make
from benchmarks.library.questions import GROUPS, HALVES, UNANSWERED, Question, questions

FOLDER = Path(".demo") / "library"
_TITLE = "A mixed library"
_FOUND = [group for group in GROUPS if group not in (*UNANSWERED, "filter")]


def main() -> None:
    """As the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.library")
    parser.add_argument("--half", choices=HALVES, default=HALVES[0])
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of files, manifest and store")
    parser.add_argument("--store", type=Path, help="search this one, ingest nothing")
    parser.add_argument("--ablate", action="store_true", help="ask again without words")
    parser.add_argument("--wrong", action="store_true", help="list what was not found first")
    parser.add_argument("--write", metavar="TITLE", help="write a section of the results")
    asked = parser.parse_args()
    folder = asked.folder.resolve()
    made = make(folder)
    store = asked.store or folder / "store"
    if not asked.store:
        ingest(folder / "files", store)
    body = asked_and_reported(store, made, asked.half, ablate=asked.ablate, wrong=asked.wrong)
    print(body)
    if asked.write:
        write_section(f"{_TITLE}: {asked.write}", f"make bench-library HALF={asked.half}", body)


def asked_and_reported(
    store: Path, made: dict[str, Facts], half: str, *, ablate: bool = False, wrong: bool = False
) -> str:
    """Ask a half's questions, and report."""
    wanted = questions(made, half)
    with engine_over(store) as engine:
        answers = [ask(engine, question) for question in wanted]
        bare = [ask(engine, question, lexical=False) for question in wanted] if ablate else []
    parts = [report(answers), words(answers, bare) if bare else ""]
    parts += [_wrong(answer) for answer in answers if wrong and answer.rank() > 0]
    return "\n\n".join(filter(None, parts))


def report(answers: Sequence[Answer]) -> str:
    """The tables of a half."""
    found = [answer for answer in answers if answer.question.group in _FOUND]
    groups = {group: _of(found, group=group) for group in _FOUND}
    groups |= {f"asked in {one}": _of(found, language=one) for one in LANGUAGES}
    rows = [[name, *_success(some)] for name, some in {**groups, "**all**": found}.items()]
    headings = ["group", "questions", "@1", "@5", "@1 all", "@5 all", "own kind @1", "own kind @5"]
    return "\n\n".join(
        [table(headings, rows), table(["", "questions", "share"], _further(answers))]
    )


def _success(some: Sequence[Answer]) -> list[object]:
    kinds = ({}, {"weak": True}, {"weak": True, "own": True})
    shares = [
        _share(answer.rank(**kind) < at for answer in some) for kind in kinds for at in (1, 5)
    ]
    return [len(some), *shares]


def _further(answers: Sequence[Answer]) -> list[list[object]]:
    found = [answer for answer in answers if answer.question.group in _FOUND]
    right = [answer for answer in found if answer.first_is_right]
    rows = [_row("filter: the page meets it", _of(answers, group="filter"), lambda a: a.page_meets)]
    for group in UNANSWERED:
        some = _of(answers, group=group)
        rows.append(_row(f"{group}: a hit above the cut-off", some, lambda a: a.shown))
        for one in LANGUAGES:
            rows.append(_row(f"- in {one}", _of(some, language=one), lambda a: a.shown))
    rows.append(_row("right first hits hidden as weak", right, lambda a: a.hits[0].weak))
    moments = [place for answer in found if (place := answer.moment()) is not None]
    rows.append(["said: right moment first", len(moments), _share(one < 1 for one in moments)])
    rows.append(["said: right moment in three", len(moments), _share(one < 3 for one in moments)])
    for answer in found:
        if answer.question.burst:
            rows.append([f"places of a burst: {answer.question.text}", 1, answer.n_of_burst])
    return rows


def _row(name: str, some: Sequence[Answer], holds: Callable[[Answer], bool]) -> list[object]:
    return [name, len(some), _share(map(holds, some))]


def words(answers: Sequence[Answer], bare: Sequence[Answer]) -> str:
    """Questions that words helped and hurt."""
    rows = []
    for language in LANGUAGES:
        pairs = [
            (one.rank(weak=True) == 0, other.rank(weak=True) == 0)
            for one, other in zip(answers, bare, strict=True)
            if one.question.language == language and one.question.group in _FOUND
        ]
        helped = sum(with_words and not without for with_words, without in pairs)
        hurt = sum(without and not with_words for with_words, without in pairs)
        rows.append([language, len(pairs), helped, hurt])
    return table(["words", "questions", "helped", "hurt"], rows)


def _of(answers: Sequence[Answer], **wanted: str) -> list[Answer]:
    """The answers to questions with these fields."""
    return [
        answer
        for answer in answers
        if all(getattr(answer.question, name) == value for name, value in wanted.items())
    ]


def _share(values: Iterable[bool]) -> str:
    given = list(values)
    return f"{sum(given) / len(given):.3f}" if given else "–"


def _wrong(answer: Answer) -> str:
    asked: Question = answer.question
    hits = [f"{'~' * hit.weak}{hit.uri.rpartition('/files/')[2]}" for hit in answer.hits[:3]]
    return f"{asked.group} {asked.language} {asked.text!r}: {sorted(asked.right)[:2]} but {hits}"


if __name__ == "__main__":
    main()

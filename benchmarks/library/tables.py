"""The tables of a half."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from benchmarks.harness.results_pages import table
from benchmarks.library.asking import Answer
from benchmarks.library.corpus import LANGUAGES
from benchmarks.library.questions import GROUPS, UNANSWERED

FOUND = [group for group in GROUPS if group not in (*UNANSWERED, "filter")]
_HEADINGS = ["group", "questions", "@1", "@5", "@1 all", "@5 all", "own kind @1", "own kind @5"]


def tables(answers: Sequence[Answer]) -> str:
    """Success by group, and what else is counted."""
    found = [answer for answer in answers if answer.question.group in FOUND]
    groups = {group: _of(found, group=group) for group in FOUND}
    groups |= {f"asked in {one}": _of(found, language=one) for one in LANGUAGES}
    rows = [[name, *_success(some)] for name, some in {**groups, "**all**": found}.items()]
    return "\n\n".join([table(_HEADINGS, rows), table(["", "questions", "share"], _more(answers))])


def _success(some: Sequence[Answer]) -> list[object]:
    ranks = [
        [answer.rank() for answer in some],
        [answer.rank(weak=True) for answer in some],
        [answer.rank(weak=True, own=True) for answer in some],
    ]
    return [len(some), *(share(rank < at for rank in kind) for kind in ranks for at in (1, 5))]


def _more(answers: Sequence[Answer]) -> list[list[object]]:
    found = [answer for answer in answers if answer.question.group in FOUND]
    rows = [_row("filter: the page meets it", _of(answers, group="filter"), Answer.page_meets)]
    for group in UNANSWERED:
        some = _of(answers, group=group)
        rows.append(_row(f"{group}: a hit above the cut-off", some, Answer.any_shown))
        rows += [
            _row(f"- in {one}", _of(some, language=one), Answer.any_shown) for one in LANGUAGES
        ]
    right = [answer for answer in found if answer.rank(weak=True) == 0]
    rows.append(_row("right first hits hidden as weak", right, lambda one: one.hits[0].weak))
    moments = [place for answer in found if (place := answer.moment()) is not None]
    for n, name in ((1, "first"), (3, "in three")):
        told = share(place < n for place in moments)
        rows.append([f"said: right moment {name}", len(moments), told])
    bursts = [answer for answer in found if answer.question.burst]
    rows += [[f"places of a burst: {one.question.text}", 1, one.n_right] for one in bursts]
    return rows


def _row(name: str, some: Sequence[Answer], holds: Callable[[Answer], bool]) -> list[object]:
    return [name, len(some), share(map(holds, some))]


def words(answers: Sequence[Answer], bare: Sequence[Answer]) -> str:
    """Questions whose first hit words made right (helped) or wrong (hurt)."""
    rows = list[list[object]]()
    for language in LANGUAGES:
        pairs = [
            (one.rank(weak=True) == 0, other.rank(weak=True) == 0)
            for one, other in zip(answers, bare, strict=True)
            if one.question.language == language and one.question.group in FOUND
        ]
        helped, hurt = pairs.count((True, False)), pairs.count((False, True))
        rows.append([language, len(pairs), helped, hurt])
    return table(["words", "questions", "helped", "hurt"], rows)


def wrong(answers: Sequence[Answer]) -> Iterator[str]:
    """What was not found first, and what was found instead; a tilde marks weak hits."""
    for answer in answers:
        asked = answer.question
        if answer.rank() and asked.group in FOUND:
            hits = [
                f"{'~' * hit.weak}{hit.uri.rpartition('/files/')[2]}" for hit in answer.hits[:3]
            ]
            yield f"{asked.group} {asked.text!r}: {', '.join(sorted(asked.right)[:2])}, but {hits}"


def _of(answers: Sequence[Answer], **wanted: str) -> list[Answer]:
    """The answers to questions with these fields."""
    return [
        answer
        for answer in answers
        if all(getattr(answer.question, name) == value for name, value in wanted.items())
    ]


def share(values: Iterable[bool]) -> str:
    """The share that holds."""
    given = list(values)
    return f"{sum(given) / len(given):.3f}" if given else "–"

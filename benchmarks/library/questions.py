"""What is asked of the library, and which files answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby

from benchmarks.bundle_quality import questions as xquad
from benchmarks.library.corpus import LANGUAGES, SOURCES, Facts, Source, articles, rows

HALVES = tuple(SOURCES)
GROUPS = (
    "photo", "document", "mail", "said", "shown", "heard", "name", "date", "place", "foreign",
    "filter", "nonsense", "absent",
)  # fmt: skip
UNANSWERED = ("nonsense", "absent")
_OF_PARAGRAPH = (1, 3)
"""The paragraphs whose first question is asked: not the one that an article begins with."""


@dataclass(frozen=True)
class Question:
    """A question.

    Args:
        group: one of `GROUPS`.
        language: that it is asked in.
        text: as typed.
        right: the files that answer, below the library's folder; none for `UNANSWERED`.
        spans: of recordings, the seconds in which the answer is said.
        burst: whether ``right`` are shots of the same.
    """

    group: str
    language: str
    text: str
    right: frozenset[str]
    spans: Mapping[str, tuple[float, float]]
    burst: bool = False


def questions(made: Mapping[str, Facts], half: str) -> list[Question]:
    """The questions of a half, by group.

    Args:
        made: of `benchmarks.library.corpus.make`.
        half: one of `HALVES`; the second library's are asked whole.
    """
    source = SOURCES[half]
    listed = [*_written(made, source), *_of_articles(source)]
    if source.nth:
        return listed
    listed.sort(key=lambda one: (GROUPS.index(one.group), one.language, _hash(one)))
    chosen = list[Question]()
    for _, of_group in groupby(listed, key=lambda one: (one.group, one.language)):
        chosen += list(of_group)[HALVES.index(half) :: 2]
    return chosen


def _hash(question: Question) -> str:
    return sha256(question.text.encode()).hexdigest()


def _written(made: Mapping[str, Facts], source: Source) -> Iterator[Question]:
    for group, language, text, wanted in rows(source.tables / "questions.tsv"):
        right, spans = set[str](), dict[str, tuple[float, float]]()
        if group not in UNANSWERED:
            for one in wanted.split(","):
                found = {path for path, facts in made.items() if _answers(path, facts, one)}
                if not found:
                    raise ValueError(f"no file for {one!r}, which {text!r} asks for")
                right |= found
                spans |= {path: made[path]["said"][one] for path in found if one[:3] == "cv:"}
        yield Question(group, language, text, frozenset(right), spans, wanted.startswith("burst:"))


def _answers(path: str, facts: Facts, wanted: str) -> bool:
    kind, _, value = wanted.partition(":")
    if kind == "name":
        return value in path
    if kind == "taken":
        return str(facts.get("taken", "")).startswith(value)
    if kind == "place":
        return facts.get("place") == value
    if kind == "cv":
        return wanted in facts.get("said", {})
    return wanted in (path, facts["of"], facts.get("heard"))


def _of_articles(source: Source) -> Iterator[Question]:
    """One of each article, every second in another language than the article's."""
    asked = {one: xquad.articles(one) for one in LANGUAGES}
    for number, (path, language, _) in enumerate(articles(source)):
        other = LANGUAGES[(LANGUAGES.index(language) + 1 + number // 6 % 2) % len(LANGUAGES)]
        own = number // len(LANGUAGES) % 2 == 0
        of = language if own else other
        paragraph = asked[of][number]["paragraphs"][_OF_PARAGRAPH[source.nth]]
        text = paragraph["qas"][0]["question"]
        yield Question("document" if own else "foreign", of, text, frozenset({path}), {})

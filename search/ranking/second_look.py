"""Order the texts of a page by how well they answer the question."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

from encoder.errors import InputError
from search.query.query import Term
from search.ranking.grouping import Group

MAX_TEXTS = 100
"""The most that a search judges; each takes a run of the network."""


class Reranker(Protocol):
    """`encoder.models.reranker.CrossEncoder`, as searches use it."""

    @property
    def name(self) -> str:
        """The name by which it was asked for."""

    def scores(self, question: str, texts: Sequence[str], check: Callable[[], None] = ...) -> Any:
        """How well each text answers the question: float32 [n], 0 to 1."""

    def n_tokens(self, question: str, texts: Sequence[str]) -> int:
        """The tokens of the question, once for each text, and of the texts."""


def question_of(terms: Sequence[Term]) -> str:
    """The words of a query.

    Raises:
        InputError: it has none.
    """
    contents = (term.item.content for term in terms if term.item and term.weight > 0)
    if question := " ".join(content for content in contents if isinstance(content, str)):
        return question
    raise InputError(
        "query.rerank", got="a query without text", wanted="at least one text among its terms"
    )


def rerank(
    groups: Sequence[Group], question: str, reranker: Reranker, check: Callable[[], None]
) -> list[Group]:
    """Reorder the hits that have a text, among the places of these hits.

    Pictures and sounds without words keep their places, as do texts after the first `MAX_TEXTS`.

    Args:
        groups: a page.
        question: the words of the query.
        reranker: judges the texts.
        check: called before each run of the reranker; it may raise.
    """
    texts = [group.best.segment.snippet for group in groups]
    indices = [index for index, text in enumerate(texts) if text.strip()][:MAX_TEXTS]
    scores = reranker.scores(question, [texts[index] for index in indices], check)
    judged = [
        replace(groups[index], reranked=float(score))
        for index, score in zip(indices, scores, strict=True)
    ]
    judged.sort(key=lambda group: -(group.reranked or 0.0))
    ordered = list(groups)
    for index, group in zip(indices, judged, strict=True):
        ordered[index] = group
    return ordered

"""Which assets and texts show the dates and places of a question: by metadata, names and words."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from search.errors import IndexNotReadyError
from search.filters import And, Filter, matches
from search.lexical.names import written_names
from search.query.query import Query, Term
from search.store.base import VectorStore
from search.store.name_index import NameIndex
from search.types import AssetRow, ScoredSegment, Understood
from search.understanding.understand import Meaning, Sought, text_of

_MOST_ASSETS = 1000
"""With a date or place in their metadata; if there are more, searches are filtered instead."""
_MENTIONED = 0.5
_HEAD_CHARS = 500
_MOST_NAMED = 500
_MOST_TEXTS = 500


@dataclass(frozen=True)
class Clue:
    """What shows one date or place of a question.

    Args:
        sought: the date or place.
        asset_ids: of assets that have it in their metadata or names, or a date at the head of their
            text.
        texts: of further assets with a text that shows it.
        are_more: whether so many have it in their metadata that only a filter finds them.
    """

    sought: Sought
    asset_ids: Collection[str]
    texts: Collection[str]
    are_more: bool

    @property
    def all_ids(self) -> set[str]:
        return {*self.asset_ids, *self.texts}

    def weight(self, segment: ScoredSegment) -> float:
        """How much a segment shows it, 0 to 1: a mention is less than what dates the whole."""
        if segment.asset_id in self.asset_ids:
            return 1.0
        return _MENTIONED if self.sought.written.is_in(segment.snippet) else 0.0


@dataclass(frozen=True)
class Evidence:
    """What shows the dates and places of a question.

    Args:
        clues: one for each of them that anything shows.
        rest_terms: the query's terms without the words for them.
        only: what hits have to show; the others are worth more than hits without.
        lists: whether all that shows them is asked for, and nothing else.
    """

    clues: Sequence[Clue] = ()
    rest_terms: Sequence[Term] = ()
    only: Sequence[Clue] = ()
    lists: bool = False

    @property
    def understood(self) -> list[Understood]:
        """For the answer."""
        return [
            Understood(
                clue.sought.kind, clue.sought.text, clue.sought.plain_filter, clue in self.only
            )
            for clue in self.clues
        ]

    @property
    def only_among(self) -> Collection[str] | None:
        """The assets that can be hits; None for all that pass the filter."""
        among = [set(clue.asset_ids or clue.texts) for clue in self.only if not clue.are_more]
        return set.intersection(*among) if among else None


class EvidenceSearch:
    """Looks for evidence in a store.

    Args:
        store: has metadata and texts.
        names: of its assets.
    """

    def __init__(self, store: VectorStore, names: NameIndex) -> None:
        self._store, self._names = store, names

    def find(
        self, query: Query, meaning: Meaning, check: Callable[[], None]
    ) -> tuple[Query, Evidence]:
        """The evidence for what a query means, and the query with the filter that follows.

        Args:
            query: what is asked.
            meaning: of its texts.
            check: raises where the search has to stop.
        """
        narrowed = query
        if meaning.is_all and meaning.kind:
            narrowed = replace(query, filter=both(query.filter, meaning.kind))
        evidence = self._in(narrowed, meaning, check)
        if narrowed is not query and not evidence.lists:
            narrowed, evidence = query, self._in(query, replace(meaning, is_all=False), check)
        for clue in evidence.only:
            if clue.are_more:
                narrowed = replace(narrowed, filter=both(narrowed.filter, clue.sought.filter))
        if evidence.only and not any(self._store.select(narrowed.filter, limit=1)):
            return query, replace(evidence, only=(), lists=False)
        return narrowed, evidence

    def _in(self, query: Query, meaning: Meaning, check: Callable[[], None]) -> Evidence:
        rest_text = " ".join(filter(None, map(text_of, meaning.rest_terms)))
        clues = [self._look_up(query, sought, rest_text, check) for sought in meaning.sought]
        if not (clues := [clue for clue in clues if clue.all_ids or clue.are_more]):
            return Evidence()
        lists = meaning.is_all and len(clues) == len(meaning.sought)
        only = [clue for clue in clues if lists or clue.sought.kind in query.only]
        evidence = Evidence(clues, meaning.rest_terms, only, lists)
        is_met = evidence.only_among is None or evidence.only_among
        return evidence if is_met else replace(evidence, only=(), lists=False)

    def _look_up(
        self, query: Query, sought: Sought, rest_text: str, check: Callable[[], None]
    ) -> Clue:
        check()
        condition = both(query.filter, sought.filter)
        taken = list(self._store.select(condition, limit=_MOST_ASSETS + 1))
        are_more = len(taken) > _MOST_ASSETS
        check()
        named = self._store.assets(self._names.holding(sought.written.names, _MOST_NAMED))
        check()
        texts = self._texts(query, f"{rest_text} {sought.written.words}")
        showing = [text for text in texts if sought.written.is_in(text.snippet)]
        if query.filter and showing:
            rows = self._store.assets([text.asset_id for text in showing])
            showing = [text for text in showing if can_be_hit(rows.get(text.asset_id), query)]
        headed = [
            text.asset_id
            for text in showing
            if text.char_start == 0 and sought.written.is_in(text.snippet[:_HEAD_CHARS])
        ]
        return Clue(
            sought,
            {
                *(() if are_more else taken),
                *(key for key, row in named.items() if _names_show(row, sought, query)),
                *(headed if sought.kind == "date" else ()),
            },
            {text.asset_id for text in showing},
            are_more,
        )

    def _texts(self, query: Query, words: str) -> Sequence[ScoredSegment]:
        if query.lexical is False:
            return ()
        try:
            return self._store.lexical(words, _MOST_TEXTS, filter=query.filter)
        except IndexNotReadyError as error:  # of which the search by words warns
            return error.hits or ()


def _names_show(row: AssetRow, sought: Sought, query: Query) -> bool:
    file_names, folders = written_names(row)
    names = [*file_names, *folders] if query.folder_names else file_names
    return can_be_hit(row, query) and any(map(sought.written.is_in, names))


def can_be_hit(row: AssetRow | None, query: Query) -> bool:
    """Whether an asset is committed, has a file and passes the query's filter."""
    filter = query.filter
    return row is not None and not row.is_gone and (filter is None or matches(filter, row))


def both(filter: Filter | None, condition: Filter) -> Filter:
    """A filter that holds where both do."""
    return And((filter, condition)) if filter else condition

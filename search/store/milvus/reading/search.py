"""Find the nearest segments: one search, or one per set of constants while rows are rewritten."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Collection as Ids
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np

from encoder.space import Calibration
from encoder.system.batched import Batched
from encoder.types import Embeddings, Modality
from search.store.calibrated import StoredCalibration, constants_of, cosine_of, to_asked
from search.store.milvus.calibration import MilvusCalibration
from search.store.milvus.indexes.kinds import LEAST_EFFORT, METRIC, search_params
from search.store.milvus.link import MilvusLink
from search.store.milvus.partitions import Partitions
from search.store.milvus.rows import MilvusRows, among_assets, chunks
from search.store.schema import modality_of, row_of, scored_from_dict
from search.store.segments import Collection
from search.store.several import best_first, one_of_each, score_of, shifted
from search.types import ScoredSegment

T = TypeVar("T")

_QUERIES_PER_CALL = 64
_N_SIDE_BY_SIDE = 8
MAX_FOUND = 16_384
"""The most rows in an answer of Milvus."""


class _Row(NamedTuple):
    """A row that Milvus found, and its inner product."""

    product: float
    fields: Mapping[str, Any]


_Answer: TypeAlias = list[_Row]
_Map: TypeAlias = "Callable[..., Iterable[Sequence[_Answer]]]"
_FEW = 256
_MAX_EXACT = 2048
"""The most rows compared in this process if the index does not find all: 180 ms."""
_MORE = 4


@dataclass(frozen=True)
class Where:
    """Which assets' segments are wanted: those of some ids, and those that an expression finds."""

    asset_ids: Ids[str] | None = None
    expression: str = ""


_Where: TypeAlias = tuple[tuple[str, ...], int, str]
"""Partitions, the most rows of one answer, and an expression."""


@dataclass(frozen=True)
class _Asked:
    """Rows [n, embed_dim + 1] that `to_asked` made, and where to look."""

    rows: Embeddings
    parts: tuple[str, ...]
    limit: int
    where: Where


class _UnknownConstantsError(Exception):
    """A row was written with constants that this process does not know yet."""


class MilvusSearch:
    """Finds the nearest segments. Safe to use from threads.

    Args:
        link: the connection.
        rows: of the collections.
        segments: the collection.
        partitions: the collection's.
        calibration: the constants of its rows.
        candidates: the fewest that a search looks at.
    """

    def __init__(
        self,
        link: MilvusLink,
        rows: MilvusRows,
        segments: Collection,
        partitions: Partitions,
        calibration: MilvusCalibration,
        candidates: int = LEAST_EFFORT,
    ) -> None:
        self._link = link
        self._rows = rows
        self._segments = segments
        self._partitions = partitions
        self._calibration = calibration
        self._candidates = candidates
        self._batched: Batched[_Where, Embeddings, _Answer] = Batched(
            self._nearest, max_items=lambda _: _QUERIES_PER_CALL
        )
        self._threads = ThreadPoolExecutor(_N_SIDE_BY_SIDE, "milvus-search")

    def close(self) -> None:
        """End its threads."""
        self._threads.shutdown()

    def of_kind(
        self,
        queries: Embeddings,
        modality: Modality,
        limit: int,
        by: Calibration,
        where: Where,
    ) -> list[list[ScoredSegment]]:
        """The nearest of one modality for each unit row [n, embed_dim]; ties by id.

        ``by`` makes the rows of segments with several comparable.
        """
        rows = to_asked(queries, 0.0)
        parts = self._partitions.of(modality)
        asked = [_Asked(rows, (part,), limit, where) for part in parts]
        # The best segments are among the best ``limit`` rows of each number.
        return _best_of(self._steadily(partial(self._of_parts, asked)), by, asked, len(queries))

    def mixed(
        self,
        query: Embeddings,
        modalities: Sequence[Modality],
        limit: int,
        shift: float,
        where: Where,
    ) -> list[ScoredSegment]:
        """The best of several modalities for a unit vector, by calibrated scores; ties by id.

        If segments have n rows, the best ones are among n times as many rows.
        """
        parts = {kind: self._partitions.of(kind) for kind in modalities}
        n_rows = limit * max(map(len, parts.values()), default=0)
        names = tuple(name for of_kind in parts.values() for name in of_kind)
        asked = _Asked(to_asked(query[None], shift), names, n_rows, where)
        if not names:
            return []

        def look(state: StoredCalibration, known: bool) -> list[ScoredSegment]:
            if len(state.by_number) > 1 or n_rows > MAX_FOUND:
                return self._mixed_apart(query[None], parts, shift, limit, where, state, known)
            (answer,) = self._found(asked)
            return one_of_each(_read(answer, shift, state, known))[:limit]

        return self._steadily(look)

    def those_of(self, expression: str, found: Sequence[ScoredSegment]) -> list[ScoredSegment]:
        """The segments for which an expression holds."""
        key, keys = self._segments.key, [one.key for one in found]
        # In one call: Milvus scans all rows for an expression, whatever the keys.
        rows = self._rows.of(self._segments, key, keys, [key], expression, at_once=MAX_FOUND)
        kept = {row[key] for row in rows}
        return [one for one in found if one.key in kept]

    def _steadily(self, look: Callable[[StoredCalibration, bool], T]) -> T:
        """Search by the constants as they were just now; again if a row shows that they are old.

        A row whose constants are unknown even then belongs to no committed asset: its writer died.
        """
        try:
            return look(self._calibration.current(), True)
        except _UnknownConstantsError:
            return look(self._calibration.refresh(), False)

    def _of_parts(
        self, asked: Sequence[_Asked], state: StoredCalibration, known: bool
    ) -> list[list[list[ScoredSegment]]]:
        """What each part has for each row that is searched for.

        Former constants come first: rows rewritten meanwhile are then found twice, not missed.
        """
        numbers = list(state.by_number)
        expressions = [f"calibration == {number}" for number in numbers] if numbers[1:] else [""]
        found: list[list[list[ScoredSegment]]] = [[[] for _ in part.rows] for part in asked]
        # In parallel on a server; Lite does one after the other anyway.
        one_by_one = len(asked) == 1 or self._link.is_lite
        run: _Map = map if one_by_one else self._threads.map
        for expression in expressions:
            find = partial(self._found, expression=expression)
            for place, answers in enumerate(run(find, asked)):
                for of_row, answer in zip(found[place], answers, strict=True):
                    of_row += _read(answer, 0.0, state, known)
        if len(expressions) == 1:
            return found
        return [
            [one_of_each(sorted(one, key=_by_cosine))[: part.limit] for one in of_part]
            for part, of_part in zip(asked, found, strict=True)
        ]

    def _mixed_apart(
        self,
        query: Embeddings,
        parts: Mapping[Modality, Sequence[str]],
        shift: float,
        limit: int,
        where: Where,
        state: StoredCalibration,
        known: bool,
    ) -> list[ScoredSegment]:
        """One search for each modality, row and set of constants."""
        rows = to_asked(query, 0.0)
        asked = {
            kind: [_Asked(rows, (name,), limit, where) for name in names]
            for kind, names in parts.items()
        }
        flat = [part for of_kind in asked.values() for part in of_kind]
        found = iter(self._of_parts(flat, state, known))
        ranked: list[tuple[float, str, ScoredSegment]] = []
        for kind, of_kind in asked.items():
            by = shifted(constants_of(state.constants, kind), shift)
            (best,) = _best_of(list(islice(found, len(of_kind))), by, of_kind, len(query))
            ranked += [(-score_of(one, by), one.segment_id, one) for one in best]
        ranked.sort(key=lambda scored: scored[:2])
        return [segment for _, _, segment in ranked[:limit]]

    def _found(self, asked: _Asked, expression: str = "") -> Sequence[_Answer]:
        """The nearest rows by inner product; concurrent searches of all assets share one call."""
        where = asked.where
        narrowed = " and ".join(f"({one})" for one in (expression, where.expression) if one)
        if where.asset_ids is None:
            return self._batched((asked.parts, asked.limit, narrowed), list(asked.rows))
        found: list[_Answer] = [[] for _ in asked.rows]
        for assets in among_assets(where.asset_ids):
            both = " and ".join(filter(None, [narrowed, assets]))
            answers = self._nearest((asked.parts, asked.limit, both), asked.rows)
            for place, answer in enumerate(answers):
                merged = heapq.merge(found[place], answer, key=self._rank)
                found[place] = list(islice(merged, asked.limit))
        return found

    def _nearest(self, where: _Where, rows: Sequence[Embeddings] | Embeddings) -> list[_Answer]:
        """The answer for each row; HNSW misses some where an expression or deletes leave few."""
        parts, limit, expression = where
        found = self._asked(where, rows)
        if self._link.is_lite or not _is_short(found, limit):
            return found
        n_rows = self._rows.count(self._segments, expression, parts)
        wanted = min(limit, n_rows)
        if _is_short(found, wanted) and n_rows > _FEW:
            more = (parts, min(_MORE * limit, MAX_FOUND), expression)
            found = [answer[:limit] for answer in self._asked(more, rows)]
        if _is_short(found, wanted) and n_rows <= _MAX_EXACT:
            return self._exactly(where, rows)
        return found

    def _asked(self, where: _Where, rows: Sequence[Embeddings] | Embeddings) -> list[_Answer]:
        parts, limit, expression = where
        found: list[_Answer] = []
        for part in chunks(list(rows), _QUERIES_PER_CALL):
            answers = self._link.call(
                "search",
                self._rows.name(self._segments),
                data=list(part),
                anns_field=self._segments.vector,
                partition_names=list(parts),
                filter=expression,
                limit=limit,
                output_fields=self._segments.scalars,
                search_params={
                    "metric_type": METRIC,
                    "params": search_params(self._index_kind, limit, self._candidates),
                },
                **self._rows.fresh(),
            )
            for hits in answers:
                answer = [_Row(float(hit["distance"]), hit["entity"]) for hit in hits]
                found.append(sorted(answer, key=self._rank))
        return found

    @cached_property
    def _index_kind(self) -> str:
        """The kind of the store's vector index, whatever new stores are set to have."""
        if self._link.is_lite:
            return "FLAT"
        name, vector = self._rows.name(self._segments), self._segments.vector
        return str(self._link.call("describe_index", name, vector)["index_type"])

    def _exactly(self, where: _Where, rows: Sequence[Embeddings] | Embeddings) -> list[_Answer]:
        """The best of all rows that an expression finds, compared in this process."""
        parts, limit, expression = where
        vector = self._segments.vector
        stored = self._link.call(
            "query",
            self._rows.name(self._segments),
            filter=expression,
            partition_names=list(parts),
            limit=MAX_FOUND,
            output_fields=[*self._segments.scalars, vector],
            **self._rows.fresh(),
        )
        if not stored:
            return [[] for _ in rows]
        products = np.stack(list(rows)) @ np.stack([row[vector] for row in stored]).T
        return [
            sorted(map(_Row, map(float, of_query), stored), key=self._rank)[:limit]
            for of_query in products
        ]

    def _rank(self, row: _Row) -> tuple[float, str]:
        """Order equal products by id, whatever the index did."""
        return -row.product, row.fields[self._segments.key]


def _read(
    answer: _Answer, shift: float, state: StoredCalibration, known: bool
) -> list[ScoredSegment]:
    """Segments with their cosines, by the constants with which each was written.

    Args:
        answer: what Milvus found.
        shift: the query's.
        state: the constants that are known.
        known: whether a row with others is an error.
    """
    by_number = state.by_number
    segments = []
    for product, row in answer:
        constants = by_number.get(row["calibration"])
        if constants is None:
            if known:
                raise _UnknownConstantsError
            constants = state.constants
        by = constants_of(constants, modality_of(row), row_of(row))
        segments.append(scored_from_dict(row, cosine_of(product, shift, by)))
    return segments


def _is_short(found: Sequence[_Answer], limit: int) -> bool:
    return min(map(len, found), default=limit) < limit


def _best_of(
    parts: Sequence[list[list[ScoredSegment]]],
    by: Calibration,
    asked: Sequence[_Asked],
    n_queries: int,
) -> list[list[ScoredSegment]]:
    """The best of all parts of one modality, for each query."""
    if len(parts) == 1:
        return parts[0]
    limit = max((part.limit for part in asked), default=0)
    return [
        best_first([row for part in parts for row in part[place]], by)[:limit]
        for place in range(n_queries)
    ]


def _by_cosine(segment: ScoredSegment) -> tuple[float, str]:
    return -segment.cosine, segment.segment_id

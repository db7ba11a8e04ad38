"""Find the nearest segments: one search, or several where rows do not rank by one inner product."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Collection as Ids
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from math import inf
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np

from encoder.space import UNCALIBRATED, Calibration
from encoder.system.batched import Batched, in_batches
from encoder.types import Embeddings, Modality
from search.store.calibrated import (
    Constants,
    StoredCalibration,
    constants_of,
    cosine_of,
    is_raised,
    to_asked,
)
from search.store.milvus.calibration import MilvusCalibration
from search.store.milvus.indexes import METRIC, search_params
from search.store.milvus.rows import MilvusRows, among_assets
from search.store.schema import modality_of, row_of, scored_from_dict
from search.store.several import (
    best_first,
    mixed_best_first,
    one_of_each,
    scores_of,
    shifted,
)
from search.types import ScoredSegment

T = TypeVar("T")

_QUERIES_PER_CALL = 64
_N_SIDE_BY_SIDE = 8
MAX_FOUND = 16_384
"""The most rows in an answer of Milvus."""


class _Row(NamedTuple):
    product: float
    fields: Mapping[str, Any]


_Answer: TypeAlias = list[_Row]
_Map: TypeAlias = "Callable[..., Iterable[Sequence[_Answer]]]"
_FEW = 256
_MAX_EXACT = 2048
"""The most rows compared in this process if the index does not find all: 180 ms."""
_MORE = 4
_MAX_SHIFT = 10.0
"""Larger shifts, by negative terms, are lost to float32 rounding."""


@dataclass(frozen=True)
class Where:
    """Which assets' segments are wanted: those of some ids, and those that an expression finds."""

    asset_ids: Ids[str] | None = None
    expression: str = ""


_Scope: TypeAlias = tuple[tuple[str, ...], int, str]
"""Partitions, the most rows of one answer, and an expression."""


@dataclass(frozen=True)
class _LookUp:
    """Rows [n, embed_dim + 1] that `to_asked` made, and where to look."""

    rows: Embeddings
    parts: tuple[str, ...]
    limit: int
    where: Where


class _UnknownConstantsError(Exception):
    """A row was written with constants that this process does not know yet."""


class MilvusSearch:
    """Finds the nearest segments. Safe to use from threads."""

    def __init__(self, rows: MilvusRows, calibration: MilvusCalibration) -> None:
        self._rows = rows
        self._link = rows.link
        self._segments = rows.segments
        self._partitions = rows.partitions
        self._calibration = calibration
        self._batched: Batched[_Scope, Embeddings, _Answer] = Batched(
            self._nearest, max_items=lambda _: _QUERIES_PER_CALL
        )
        self._threads = ThreadPoolExecutor(_N_SIDE_BY_SIDE, "milvus-search")

    def close(self) -> None:
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
        partitions = self._partitions.of(modality)
        look_ups = [_LookUp(rows, (partition,), limit, where) for partition in partitions]
        # The best segments are among the best ``limit`` rows of each number.
        return _best_of(
            self._steadily(partial(self._of_parts, look_ups)), by, look_ups, len(queries)
        )

    def mixed(
        self,
        query: Embeddings,
        modalities: Sequence[Modality],
        limit: int,
        by: Constants,
        shift: float,
        where: Where,
    ) -> list[ScoredSegment]:
        """The best of several modalities for a unit vector, by calibrated scores; ties by id.

        One search if rows have the constants ``by``, or rank no lower by theirs. If segments have
        n rows, the best ones are among n times as many rows.
        """
        partitions = {modality: self._partitions.of(modality) for modality in modalities}
        n_rows = limit * max(map(len, partitions.values()), default=0)
        names = tuple(name for of_kind in partitions.values() for name in of_kind)
        look_up = _LookUp(to_asked(query[None], shift), names, n_rows, where)
        if not names:
            return []

        def look(state: StoredCalibration, strict: bool) -> list[ScoredSegment]:
            pairs = [
                (constants_of(by, modality), constants_of(state.constants, modality))
                for modality in modalities
            ]
            is_exact = all(constants == of_rows for constants, of_rows in pairs)
            is_bound = is_exact or (shift >= 0 and all(is_raised(*pair) for pair in pairs))
            is_precise = abs(shift) <= _MAX_SHIFT and n_rows <= MAX_FOUND
            if len(state.by_number) == 1 and is_bound and is_precise:
                (answer,) = self._answers(look_up)
                segments = _read(answer, shift, state, strict)
                if is_exact:
                    return one_of_each(segments)[:limit]
                # Hits above 0 are scored no higher than rows rank: none beyond the last is better.
                bound = max(0.0, answer[-1].product) if len(answer) == n_rows else -inf
                scored = [
                    (scores_of([row], shifted(constants_of(by, row.modality), shift))[0], row)
                    for row in segments
                ]
                scored.sort(key=lambda pair: (-pair[0], pair[1].segment_id))
                best = one_of_each(segment for score, segment in scored if score > bound)
                if len(best) >= limit or bound == -inf:
                    return best[:limit]
            return self._mixed_apart(
                query[None], partitions, by, shift, limit, where, state, strict
            )

        return self._steadily(look)

    def those_of(self, expression: str, segments: Sequence[ScoredSegment]) -> list[ScoredSegment]:
        key, keys = self._segments.key, [segment.key for segment in segments]
        # In one call: Milvus scans all rows for an expression, whatever the keys.
        rows = self._rows.of(self._segments, key, keys, [key], expression, at_once=MAX_FOUND)
        matching_keys = {row[key] for row in rows}
        return [segment for segment in segments if segment.key in matching_keys]

    def _steadily(self, look: Callable[[StoredCalibration, bool], T]) -> T:
        """Search by the constants as they were just now; again if a row shows that they are old.

        A row whose constants are unknown even then belongs to no committed asset: its writer died.
        """
        try:
            return look(self._calibration.current(), True)
        except _UnknownConstantsError:
            return look(self._calibration.refresh(), False)

    def _of_parts(
        self, look_ups: Sequence[_LookUp], state: StoredCalibration, strict: bool
    ) -> list[list[list[ScoredSegment]]]:
        """What each part has for each row that is searched for.

        Former constants come first: rows rewritten meanwhile are then found twice, not missed.
        """
        numbers = list(state.by_number)
        expressions = [f"calibration == {number}" for number in numbers] if numbers[1:] else [""]
        segments_of: list[list[list[ScoredSegment]]] = [
            [[] for _ in look_up.rows] for look_up in look_ups
        ]
        # In parallel on a server; Lite does one after the other anyway.
        one_by_one = len(look_ups) == 1 or self._link.is_lite
        run: _Map = map if one_by_one else self._threads.map
        for expression in expressions:
            find = partial(self._answers, expression=expression)
            for position, answers in enumerate(run(find, look_ups)):
                for of_row, answer in zip(segments_of[position], answers, strict=True):
                    of_row += _read(answer, 0.0, state, strict)
        if len(expressions) == 1:
            return segments_of
        return [
            [best_first(segments, UNCALIBRATED)[: look_up.limit] for segments in of_part]
            for look_up, of_part in zip(look_ups, segments_of, strict=True)
        ]

    def _mixed_apart(
        self,
        query: Embeddings,
        partitions: Mapping[Modality, Sequence[str]],
        constants: Constants,
        shift: float,
        limit: int,
        where: Where,
        state: StoredCalibration,
        strict: bool,
    ) -> list[ScoredSegment]:
        """One search for each modality, row and set of constants."""
        rows = to_asked(query, 0.0)
        look_ups = {
            modality: [_LookUp(rows, (name,), limit, where) for name in names]
            for modality, names in partitions.items()
        }
        flat = [look_up for of_kind in look_ups.values() for look_up in of_kind]
        segments_of = iter(self._of_parts(flat, state, strict))
        of_modalities = []
        for modality, of_kind in look_ups.items():
            by = shifted(constants_of(constants, modality), shift)
            (best,) = _best_of(list(islice(segments_of, len(of_kind))), by, of_kind, len(query))
            of_modalities.append((best, by))
        return mixed_best_first(of_modalities)[:limit]

    def _answers(self, look_up: _LookUp, expression: str = "") -> Sequence[_Answer]:
        """The nearest rows by inner product; concurrent searches of all assets share one call."""
        where = look_up.where
        conditions = filter(None, (expression, where.expression))
        narrowed = " and ".join(f"({condition})" for condition in conditions)
        if where.asset_ids is None:
            return self._batched((look_up.parts, look_up.limit, narrowed), list(look_up.rows))
        best: list[_Answer] = [[] for _ in look_up.rows]
        for assets in among_assets(where.asset_ids):
            condition = " and ".join(filter(None, [narrowed, assets]))
            answers = self._nearest((look_up.parts, look_up.limit, condition), look_up.rows)
            for position, answer in enumerate(answers):
                merged = heapq.merge(best[position], answer, key=self._rank)
                best[position] = list(islice(merged, look_up.limit))
        return best

    def _nearest(self, where: _Scope, rows: Sequence[Embeddings] | Embeddings) -> list[_Answer]:
        """The answer for each row; HNSW misses some where an expression or deletes leave few."""
        parts, limit, expression = where
        answers = self._ask(where, rows)
        if self._link.is_lite or not _is_short(answers, limit):
            return answers
        n_rows = self._rows.count(self._segments, expression, parts)
        n_expected = min(limit, n_rows)
        if _is_short(answers, n_expected) and n_rows > _FEW:
            wider = (parts, min(_MORE * limit, MAX_FOUND), expression)
            answers = [answer[:limit] for answer in self._ask(wider, rows)]
        if _is_short(answers, n_expected) and n_rows <= _MAX_EXACT:
            return self._exactly(where, rows)
        return answers

    def _ask(self, where: _Scope, rows: Sequence[Embeddings] | Embeddings) -> list[_Answer]:
        parts, limit, expression = where
        answers: list[_Answer] = []
        for queries in in_batches(list(rows), _QUERIES_PER_CALL):
            hits_of = self._rows.read(
                "search",
                self._segments,
                data=list(queries),
                anns_field=self._segments.vector,
                partition_names=list(parts),
                filter=expression,
                limit=limit,
                output_fields=self._segments.scalars,
                search_params={
                    "metric_type": METRIC,
                    "params": search_params(self._index_kind, limit),
                },
            )
            for hits in hits_of:
                answer = [_Row(float(hit["distance"]), hit["entity"]) for hit in hits]
                answers.append(sorted(answer, key=self._rank))
        return answers

    @cached_property
    def _index_kind(self) -> str:
        """The kind of the store's vector index, whatever new stores are set to have."""
        if self._link.is_lite:
            return "FLAT"
        name, vector = self._rows.name(self._segments), self._segments.vector
        return str(self._link.call("describe_index", name, vector)["index_type"])

    def _exactly(self, where: _Scope, rows: Sequence[Embeddings] | Embeddings) -> list[_Answer]:
        """The best of all rows that an expression finds, compared in this process."""
        parts, limit, expression = where
        vector = self._segments.vector
        stored = self._rows.read(
            "query",
            self._segments,
            filter=expression,
            partition_names=list(parts),
            limit=MAX_FOUND,
            output_fields=[*self._segments.scalars, vector],
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
    answer: _Answer, shift: float, state: StoredCalibration, strict: bool
) -> list[ScoredSegment]:
    """Segments with their cosines, by the constants with which each was written.

    ``strict``: a row with constants that are not known is an error.
    """
    by_number = state.by_number
    segments = []
    for product, row in answer:
        constants = by_number.get(row["calibration"])
        if constants is None:
            if strict:
                raise _UnknownConstantsError
            constants = state.constants
        by = constants_of(constants, modality_of(row), row_of(row))
        segments.append(scored_from_dict(row, cosine_of(product, shift, by)))
    return segments


def _is_short(answers: Sequence[_Answer], limit: int) -> bool:
    return min(map(len, answers), default=limit) < limit


def _best_of(
    segments_of: Sequence[list[list[ScoredSegment]]],
    by: Calibration,
    look_ups: Sequence[_LookUp],
    n_queries: int,
) -> list[list[ScoredSegment]]:
    if len(segments_of) == 1:
        return segments_of[0]
    limit = max((look_up.limit for look_up in look_ups), default=0)
    return [
        best_first([row for of_part in segments_of for row in of_part[position]], by)[:limit]
        for position in range(n_queries)
    ]

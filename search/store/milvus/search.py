"""Find the nearest segments: each partition by its own search, all at the same time."""

from __future__ import annotations

import heapq
from collections.abc import Collection as Ids
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from encoder.space import UNCALIBRATED
from encoder.system.batched import Batched, in_batches
from encoder.types import Embeddings, Modality
from search.store.calibrated import Constants
from search.store.milvus.indexes import EXACT, METRIC, search_params
from search.store.milvus.rows import MilvusRows, among_assets
from search.store.schema import Collection, scored_from_dict
from search.store.several import best_first, mixed_best_first
from search.types import ScoredSegment

_QUERIES_PER_CALL = 64
N_SIDE_BY_SIDE = 8
MAX_FOUND = 16_384
"""The most rows in an answer of Milvus."""


class _Row(NamedTuple):
    cosine: float
    fields: Mapping[str, Any]


_Answer: TypeAlias = list[_Row]
_FEW = 256
_MAX_EXACT = 2048
"""The most rows compared in this process if the index does not find all: 180 ms."""
_MORE = 4


@dataclass(frozen=True)
class Where:
    """Which assets' segments are wanted: those of some ids, and those that an expression finds."""

    asset_ids: Ids[str] | None = None
    expression: str = ""


_Scope: TypeAlias = tuple[tuple[str, ...], int, str]
"""Partitions, the most rows of one answer, and an expression."""


class MilvusSearch:
    """Finds the nearest segments of a space. Safe to use from threads."""

    def __init__(self, rows: MilvusRows, segments: Collection, threads: ThreadPoolExecutor) -> None:
        self._rows = rows
        self._link = rows.link
        self._segments = segments
        self._partitions = rows.partitions(segments)
        self._batched: Batched[_Scope, Embeddings, list[_Answer]] = Batched(
            self._side_by_side, max_items=lambda _: _QUERIES_PER_CALL
        )
        self._threads = threads

    def nearest(
        self,
        queries: Embeddings,
        modalities: Sequence[Modality],
        limit: int,
        by: Constants,
        where: Where,
    ) -> list[list[ScoredSegment]]:
        """The best of some modalities for each unit row [n, embed_dim], by calibrated scores.

        The best segments are among the best ``limit`` rows of each number.
        """
        partitions = {modality: self._partitions.of(modality) for modality in modalities}
        names = [name for of_kind in partitions.values() for name in of_kind]
        hits: list[list[ScoredSegment]] = []
        for answers in self._answers(queries, names, limit, where):
            of_parts, of_modalities = iter(answers), []
            for modality, of_kind in partitions.items():
                constants = by.get(modality, UNCALIBRATED)
                rows = [
                    scored_from_dict(row.fields, row.cosine)
                    for answer in islice(of_parts, len(of_kind))
                    for row in answer
                ]
                of_modalities.append((best_first(rows, constants)[:limit], constants))
            hits.append(mixed_best_first(of_modalities))
        return hits

    def those_of(self, expression: str, segments: Sequence[ScoredSegment]) -> list[ScoredSegment]:
        key, keys = self._segments.key, [segment.key for segment in segments]
        # In one call: Milvus scans all rows for an expression, whatever the keys.
        rows = self._rows.of(self._segments, key, keys, [key], expression, at_once=MAX_FOUND)
        matching_keys = {row[key] for row in rows}
        return [segment for segment in segments if segment.key in matching_keys]

    def _answers(
        self, queries: Embeddings, parts: Sequence[str], limit: int, where: Where
    ) -> Sequence[list[_Answer]]:
        """For each query, the nearest rows of each part, best first.

        Concurrent searches of all assets share their calls.
        """
        if not parts:
            return [[] for _ in queries]
        if where.asset_ids is None:
            return self._batched((tuple(parts), limit, where.expression), list(queries))
        best: list[list[_Answer]] = [[[] for _ in parts] for _ in queries]
        narrowed = where.expression and f"({where.expression}) and "
        for assets in among_assets(where.asset_ids):
            answers = self._side_by_side((tuple(parts), limit, narrowed + assets), queries)
            best = [
                [
                    list(islice(heapq.merge(*answers_of_part, key=self._rank), limit))
                    for answers_of_part in zip(of_query, more_answers, strict=True)
                ]
                for of_query, more_answers in zip(best, answers, strict=True)
            ]
        return best

    def _side_by_side(
        self, scope: _Scope, queries: Sequence[Embeddings] | Embeddings
    ) -> list[list[_Answer]]:
        """Look in all parts at the same time; for each query, the answers of each part."""
        (first_partition, *other_partitions), limit, expression = scope
        look = partial(self._nearest, limit=limit, expression=expression, queries=queries)
        looking = [self._threads.submit(look, partition) for partition in other_partitions]
        of_parts = [look(first_partition), *(future.result() for future in looking)]
        return [list(of_query) for of_query in zip(*of_parts, strict=True)]

    def _nearest(
        self,
        partition: str,
        limit: int,
        expression: str,
        queries: Sequence[Embeddings] | Embeddings,
    ) -> list[_Answer]:
        """The answer for each query; HNSW misses some where an expression or deletes leave few."""
        answers = self._ask(partition, limit, expression, queries)
        if self._index_kind == EXACT or not _is_short(answers, limit):
            return answers
        n_rows = self._rows.count(self._segments, expression, [partition])
        n_expected = min(limit, n_rows)
        if _is_short(answers, n_expected) and n_rows > _FEW:
            wider = min(_MORE * limit, MAX_FOUND)
            answers = [
                answer[:limit] for answer in self._ask(partition, wider, expression, queries)
            ]
        if _is_short(answers, n_expected) and n_rows <= _MAX_EXACT:
            return self._exactly(partition, limit, expression, queries)
        return answers

    def _ask(
        self,
        partition: str,
        limit: int,
        expression: str,
        queries: Sequence[Embeddings] | Embeddings,
    ) -> list[_Answer]:
        answers: list[_Answer] = []
        for some in in_batches(list(queries), _QUERIES_PER_CALL):
            hits_of = self._rows.read(
                "search",
                self._segments,
                data=list(some),
                anns_field=self._segments.vector,
                partition_names=[partition],
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
        name, vector = self._rows.name(self._segments), self._segments.vector
        return str(self._link.call("describe_index", name, vector)["index_type"])

    def _exactly(
        self,
        partition: str,
        limit: int,
        expression: str,
        queries: Sequence[Embeddings] | Embeddings,
    ) -> list[_Answer]:
        """The best of all rows that an expression finds, compared in this process."""
        vector = self._segments.vector
        stored = self._rows.read(
            "query",
            self._segments,
            filter=expression,
            partition_names=[partition],
            limit=MAX_FOUND,
            output_fields=[*self._segments.scalars, vector],
        )
        if not stored:
            return [[] for _ in queries]
        cosines = np.stack(list(queries)) @ np.stack([row[vector] for row in stored]).T
        return [
            sorted(map(_Row, map(float, of_query), stored), key=self._rank)[:limit]
            for of_query in cosines
        ]

    def _rank(self, row: _Row) -> tuple[float, str]:
        """Order equal cosines by id, whatever the index did."""
        return -row.cosine, row.fields[self._segments.key]


def _is_short(answers: Sequence[_Answer], limit: int) -> bool:
    return min(map(len, answers), default=limit) < limit

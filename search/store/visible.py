"""A store restricted to what a filter lets through, for reads and writes.

It answers like a store that holds nothing else: what lies outside is not found, not counted, and
looks as if it did not exist. Of an asset with several locations only those count that
pass the filter by themselves; the others stay when it is changed, and keep it when it is deleted.

Three things are the whole store's: the constants of scores, when a file of a content was changed
last, and which of more than `_MOST_TEXTS` texts or 1,000 names hold a question's words best.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np

from encoder.types import TEXT, Embeddings, Modality
from search.errors import IndexNotReadyError, OutsideError
from search.filters import And, Filter, asks_for_paths, matches
from search.lexical.analysis import terms
from search.lexical.index import MAX_FOUND, FoundText
from search.lexical.names import text_of
from search.lexical.rarity import Frequencies
from search.store.base import VectorStore
from search.store.calibrated import NO_CONSTANTS, Calibrations, Constants, StoredCalibration
from search.store.overview import Dated, Facets, Order, counted_first, newest_of
from search.types import AssetRow, ScoredSegment, SegmentRow

_MOST_TEXTS = 200
_MOST_MEASURED = 1000
_SIZES_S = 60.0


class Visible:
    """A `VectorStore` of the assets of another one for which ``within`` holds."""

    in_process = False
    """Every read is filtered."""

    def __init__(self, store: VectorStore, within: Filter) -> None:
        self._store, self.within = store, within
        self._hides_locations = asks_for_paths(within, inside=True)
        self.lanes, self.locks = store.lanes, store.locks
        self.check_writable, self.catch_up = store.check_writable, store.catch_up
        self.ping, self.read_names = store.ping, store.read_names
        self.has_overview = store.has_overview
        self._states: dict[str, tuple[StoredCalibration, StoredCalibration]] = {}
        self.calibrations = Calibrations(store.lanes.home.fingerprint, self._calibration)
        self._sizes: dict[Modality, int] = {}
        self._measure_at_s = 0.0

    @property
    def read_only(self) -> bool:
        return self._store.read_only

    # What is seen

    def _narrowed(self, filter: Filter | None) -> Filter:
        if filter is None or (isinstance(filter, And) and self.within in filter.parts):
            return filter or self.within
        return And((self.within, filter))

    def _seen(self, row: AssetRow) -> AssetRow | None:
        """The row without the locations that lie outside; None if it does itself."""
        if not matches(self.within, row):
            return None
        if not self._hides_locations:
            return row
        uris = [x for x in row.locations if matches(self.within, replace(row, locations=[x]))]
        return replace(row, locations=uris) if uris else None

    def _all_seen(self, rows: Iterable[AssetRow]) -> Iterator[AssetRow]:
        return (row for row in map(self._seen, rows) if row)

    def _tells_of_locations(self, filter: Filter | None) -> bool:
        return bool(self._hides_locations and filter and asks_for_paths(filter, inside=True))

    def assets(self, asset_ids: Sequence[str]) -> dict[str, AssetRow]:
        rows = self._all_seen(self._store.assets(asset_ids).values())
        return {row.asset_id: row for row in rows}

    def assets_at(self, uris: Sequence[str]) -> dict[str, list[AssetRow]]:
        rows_at = {
            uri: [row for row in self._all_seen(rows) if uri in row.locations]
            for uri, rows in self._store.assets_at(uris).items()
        }
        return {uri: rows for uri, rows in rows_at.items() if rows}

    def scan(self, filter: Filter | None = None) -> Iterator[AssetRow]:
        rows = self._all_seen(self._store.scan(self._narrowed(filter)))
        return (row for row in rows if filter is None or matches(filter, row))

    def select(
        self, filter: Filter | None, *, limit: int | None = None, after: str = ""
    ) -> Iterator[str]:
        if self._tells_of_locations(filter):
            ids = (row.asset_id for row in self.scan(filter))
            return islice((asset_id for asset_id in ids if asset_id > after), limit)
        return self._store.select(self._narrowed(filter), limit=limit, after=after)

    def count(self, filter: Filter | None = None) -> int:
        """Exact without a filter."""
        if self._store.has_overview:
            return self._store.count(self._narrowed(filter))
        n_seen = sum(1 for _ in self._store.select(self.within))
        return min(n_seen, self._store.count(self._narrowed(filter))) if filter else n_seen

    def sizes(self) -> dict[Modality, int]:
        """Of the first assets, if there are many, as of a minute ago."""
        if time.monotonic() >= self._measure_at_s:
            self._sizes = self._measured()
            self._measure_at_s = time.monotonic() + _SIZES_S
        return self._sizes

    def _measured(self) -> dict[Modality, int]:
        counts = Counter[Modality]()
        n_measured = 0
        for row in islice(self.scan(), _MOST_MEASURED):
            counts.update(row.counts)
            n_measured += 1
        share = self.count() / n_measured if n_measured == _MOST_MEASURED else 1.0
        return {modality: round(n * share) for modality, n in counts.items() if n}

    def _calibration(self, space: str) -> StoredCalibration:
        """The whole store's, without what it was measured on."""
        state = self._store.calibrations.current(space)
        if space not in self._states or self._states[space][0] is not state:
            about = {"source": state.about.get("source", "none")}
            self._states[space] = state, replace(state, about=about)
        return self._states[space][1]

    def embeddings(self, asset_id: str) -> list[SegmentRow]:
        return self._store.embeddings(asset_id) if self.assets([asset_id]) else []

    def vectors(self, keys: Sequence[str]) -> dict[str, Embeddings]:
        """Not checked again: keys come from what a search found."""
        return self._store.vectors(keys)

    def sample(self, modality: Modality, limit: int) -> Embeddings:  # noqa: ARG002
        """None: constants are measured on whole stores."""
        return np.empty((0, 1, self.lanes.space(modality).embed_dim), np.float32)

    # Overview

    def facets(self, filter: Filter | None) -> Facets:
        """Read and counted where an asset may have other locations."""
        if self._hides_locations:
            return counted_first(self.scan(filter))
        return self._store.facets(self._narrowed(filter))

    def newest(
        self,
        filter: Filter | None,
        limit: int,
        after: Dated,
        reverse: bool = False,
        by: Order = "date",
    ) -> list[Dated]:
        if self._tells_of_locations(filter):
            return newest_of(self.scan(filter), limit, after, reverse)
        return self._store.newest(self._narrowed(filter), limit, after, reverse, by)

    def named(self, text: str, limit: int) -> Sequence[FoundText]:
        matches = self._store.named(text, MAX_FOUND)
        rows = self.assets([name_hit.segment_id for name_hit in matches])
        names = {asset_id: text_of(row) for asset_id, row in rows.items()}
        index_terms = set(terms(text))  # as in `lexical`, no misspelt ones
        hits = (x._replace(note=names[x.segment_id].note) for x in matches if x.segment_id in names)
        holding = (x for x in hits if not index_terms.isdisjoint(names[x.segment_id].index_terms))
        return list(islice(holding, limit))

    # Searching

    def search(
        self,
        queries: Embeddings,
        modalities: Collection[Modality],
        limit: int,
        *,
        by: Constants = NO_CONSTANTS,
        asset_ids: Collection[str] | None = None,
        filter: Filter | None = None,
    ) -> list[list[ScoredSegment]]:
        narrowed = self._narrowed(filter)
        return self._store.search(
            queries, modalities, limit, by=by, asset_ids=asset_ids, filter=narrowed
        )

    def lexical(
        self,
        text: str,
        limit: int,
        *,
        asset_ids: Collection[str] | None = None,
        filter: Filter | None = None,
    ) -> list[ScoredSegment]:
        """Weighs words by their rarity in the visible texts, so that ranks reveal no others.

        Misspelt words are not corrected: that would reveal which words other texts have.
        """
        narrowed, n_most = self._narrowed(filter), max(limit, _MOST_TEXTS)
        try:
            hits = self._store.lexical(text, n_most, asset_ids=asset_ids, filter=narrowed)
        except IndexNotReadyError as error:
            error.hits = None if error.hits is None else self._weighed(text, error.hits)[:limit]
            raise
        return self._weighed(text, hits)[:limit]

    def _weighed(self, text: str, hits: Sequence[ScoredSegment]) -> list[ScoredSegment]:
        index_terms = frozenset(terms(text))
        rows = self.assets(list({hit.asset_id for hit in hits}))
        frequencies = self.frequencies(index_terms)
        weighed = [
            hit._replace(cosine=sum(map(frequencies.rarity, held_terms)))
            for hit in hits
            if hit.asset_id in rows and (held_terms := index_terms.intersection(terms(hit.snippet)))
        ]
        return sorted(weighed, key=lambda hit: (-hit.cosine, hit.segment_id))

    def frequencies(self, index_terms: Collection[str]) -> Frequencies:
        counts = Counter[str]()
        try:
            hits = self._store.lexical(" ".join(index_terms), _MOST_TEXTS, filter=self.within)
        except IndexNotReadyError as error:
            hits = list(error.hits or ())
        rows = self.assets(list({hit.asset_id for hit in hits}))
        for hit in hits:
            if hit.asset_id in rows:
                counts.update(set(index_terms).intersection(terms(hit.snippet)))
        return Frequencies(max(self.sizes().get(TEXT, 0), *counts.values(), 0), counts)

    # Changing

    def write(self, assets: Sequence[AssetRow], segments: Sequence[SegmentRow]) -> None:
        """Write all, or nothing if an asset lies outside, or would after it.

        Raises:
            OutsideError: one does.
        """
        rows = {row.asset_id: row for row in assets}
        ids = [*rows, *{segment.asset_id for segment in segments}.difference(rows)]
        stored = self._store.assets(ids)
        for asset_id in ids:
            stored_row, new_row = stored.get(asset_id), rows.get(asset_id)
            seen_row = self._seen(new_row) if new_row else None
            is_whole = new_row is None or (
                seen_row and len(seen_row.locations) == len(new_row.locations)
            )
            if (stored_row and not self._seen(stored_row)) or not is_whole:
                raise outside(asset_id)
        every = [[*row.locations, *self._hidden(stored, row)] for row in assets]
        whole = [replace(row, locations=uris) for row, uris in zip(assets, every, strict=True)]
        self._store.write(whole, segments)

    def delete(self, asset_ids: Sequence[str]) -> None:
        stored = self._store.assets(asset_ids)
        rows = self.assets(asset_ids)
        hidden = {x: uris for x, row in rows.items() if (uris := self._hidden(stored, row))}
        self._store.write([replace(stored[x], locations=uris) for x, uris in hidden.items()], [])
        self._store.delete([asset_id for asset_id in rows if asset_id not in hidden])

    def empty(self, asset_ids: Sequence[str]) -> None:
        self._store.empty(list(self.assets(asset_ids)))

    def _hidden(self, stored: Mapping[str, AssetRow], row: AssetRow) -> list[str]:
        """The locations of an asset that are not seen."""
        if not (stored_row := stored.get(row.asset_id)) or not (seen_row := self._seen(stored_row)):
            return []
        return [uri for uri in stored_row.locations if uri not in seen_row.locations]

    def recalibrate(self, constants: Any, origin: Any, space: str = "") -> None:  # noqa: ARG002
        """Raise OutsideError: constants are the whole store's."""
        raise OutsideError("The scores of a store are not for a key with a filter to change.")

    def close(self) -> None:
        """Do nothing: the store is another's."""


def outside(name: str) -> OutsideError:
    """The error for what lies outside, or would: the same for both."""
    return OutsideError(
        f"{name} would lie outside of what this key may see.",
        "Give it tags or metadata that the key's filter lets through, or use another key.",
    )

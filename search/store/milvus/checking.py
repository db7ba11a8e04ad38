"""Check the collections of a store against one another, and mend them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from operator import itemgetter

from encoder.system.batched import in_batches
from encoder.types import TEXT
from search.store.checking import (
    INCOMPLETE,
    MISCOUNTED,
    ORPHANED,
    PLACES,
    WORDS,
    Findings,
    Progress,
    paired,
)
from search.store.checks import words_of
from search.store.milvus.rows import MilvusRows
from search.store.schema import (
    ASSETS,
    LOCATIONS,
    asset_from_dict,
    asset_to_dict,
    locations_to_dicts,
    row_of,
)
from search.store.schema import WORDS as WORDS_ROWS
from search.store.several import FIRST_ROWS
from search.types import AssetRow

_AT_ONCE = 1000
_WITH_WORDS = f'modality == "{TEXT}" and {FIRST_ROWS} and snippet != ""'


class MilvusCheck:
    """Reads all rows but their vectors, page by page; in memory are the ids of assets."""

    def __init__(
        self,
        rows: MilvusRows,
        delete: Callable[[Sequence[str]], None],
        write: Callable[[Sequence[AssetRow]], None],
    ) -> None:
        self._rows = rows
        self._segments = rows.segments
        self._delete = delete
        self._write = write

    def find(self, progress: Progress) -> Findings:
        """See `search.store.checking.Checkable.check`."""
        findings = Findings()
        total = self._rows.count(self._segments) + self._rows.count(ASSETS)
        counts = Counter[str]()
        for row in self._rows.where(self._segments, "", ["asset_id", "index"]):
            findings.n_segments += 1
            counts[row["asset_id"]] += not row_of(row)
            if not findings.n_segments % _AT_ONCE:
                progress(findings.n_segments, total)
        assets = map(asset_from_dict, self._rows.where(ASSETS, "", ASSETS.scalars))
        for rows in in_batches(assets, _AT_ONCE):
            findings.n_assets += len(rows)
            self._compare(rows, counts, findings)
            progress(findings.n_segments + findings.n_assets, total)
        for asset_id in counts:
            findings.add(ORPHANED, asset_id)
        if WORDS_ROWS.kind in self._rows.names:
            self._find_words(findings)
        return findings

    def _compare(self, rows: Sequence[AssetRow], counts: Counter[str], findings: Findings) -> None:
        for row in rows:
            n_segments = counts.pop(row.asset_id, 0)
            if n_segments != row.n_segments:
                difference = INCOMPLETE if n_segments < row.n_segments else MISCOUNTED
                findings.add(difference, row.asset_id, _shown(row))
        key = LOCATIONS.key
        places = {location[key]: row for row in rows for location in locations_to_dicts(row)}
        stored = self._rows.of(LOCATIONS, key, list(places), [key])
        for location in places.keys() - {location[key] for location in stored}:
            findings.add(PLACES, places[location].asset_id, _shown(places[location]))

    def _find_words(self, findings: Findings) -> None:
        key = self._segments.key
        texts = self._rows.where(self._segments, _WITH_WORDS, [key])
        words = self._rows.where(WORDS_ROWS, "", [WORDS_ROWS.key])
        for text, its_words in paired(texts, words, itemgetter(key)):
            if text and not its_words:
                findings.add(WORDS, text[key])

    def mend(self, findings: Findings) -> None:
        """See `search.store.checking.Checkable.repair`."""
        for ids in in_batches(findings.of(PLACES), _AT_ONCE):
            rows = self._assets(ids)
            locations = [location for row in rows for location in locations_to_dicts(row)]
            self._rows.upsert(LOCATIONS, locations)
        for keys in in_batches(findings.of(WORDS), _AT_ONCE):
            texts = self._rows.of(self._segments, self._segments.key, keys, ["asset_id", "snippet"])
            words = [
                {"segment_id": text["segment_id"], "asset_id": text["asset_id"]}
                | {"words": words_of(text["snippet"])}
                for text in texts
            ]
            self._rows.upsert(WORDS_ROWS, words)
        for ids in in_batches(findings.of(MISCOUNTED), _AT_ONCE):
            for row in self._assets(ids):
                segments = self._rows.of(self._segments, "asset_id", [row.asset_id], ["index"])
                n_segments = sum(not row_of(segment) for segment in segments)
                self._rows.upsert(ASSETS, [asset_to_dict(replace(row, n_segments=n_segments))])
        incomplete = self._assets(findings.of(INCOMPLETE))
        self._delete([*findings.of(ORPHANED), *findings.of(INCOMPLETE)])
        # Tags and locations stay, and the next ingest reads what counts no segments.
        self._write([replace(row, n_segments=0) for row in incomplete])

    def _assets(self, asset_ids: Sequence[str]) -> list[AssetRow]:
        return list(map(asset_from_dict, self._rows.of(ASSETS, ASSETS.key, asset_ids)))


def _shown(row: AssetRow) -> str:
    return next(iter(row.locations), "")

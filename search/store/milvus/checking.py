"""Check the collections of a store against one another, and mend them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any

from encoder.system.batched import in_batches
from encoder.types import TEXT, Modality
from search.store.checking import (
    PLACES,
    WORDS,
    Findings,
    Progress,
    compared,
    paired,
)
from search.store.lanes import StoreLanes
from search.store.milvus.rows import MilvusRows
from search.store.milvus.words import MilvusWords
from search.store.schema import (
    ASSETS,
    LOCATIONS,
    asset_from_dict,
    locations_to_dicts,
    modality_of,
    row_of,
    scored_from_dict,
    segments_collection,
)
from search.store.several import FIRST_ROWS
from search.types import AssetRow

_AT_ONCE = 1000
_WITH_WORDS = f'modality == "{TEXT}" and {FIRST_ROWS} and snippet != ""'


class MilvusCheck:
    """Reads all rows but their vectors, page by page; in memory are the ids of assets."""

    def __init__(self, rows: MilvusRows, lanes: StoreLanes, words: MilvusWords | None) -> None:
        self._rows = rows
        self._lanes = lanes
        self._words = words
        self._texts = segments_collection(lanes.space(TEXT).fingerprint)

    def find(self, progress: Progress) -> Findings:
        """See `search.store.checking.Checkable.check`."""
        findings = Findings()
        total = sum(map(self._rows.count, [ASSETS, *self._rows.segments_of_all()]))
        counts = defaultdict[str, Counter[Modality]](Counter)
        other_ids, n_read = set[str](), 0
        for n_read, (space, row) in enumerate(self._segments(), 1):
            asset_id, modality = row["asset_id"], modality_of(row)
            if self._lanes.has(space, modality):
                findings.n_segments += 1
                counts[asset_id][modality] += not row_of(row)
            else:
                other_ids.add(asset_id)
            if not n_read % _AT_ONCE:
                progress(n_read, total)
        rows = self._rows.where(ASSETS, "", ASSETS.scalars)
        assets = (asset_from_dict(row, self._lanes) for row in rows)
        for some in in_batches(compared(assets, counts, other_ids, findings), _AT_ONCE):
            self._find_places(some, findings)
            progress(min(total, n_read + findings.n_assets), total)
        if self._words:
            self._find_words(self._words, findings)
        return findings

    def _segments(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The rows of all lanes, each with its space."""
        fields = ["asset_id", "modality", "index"]
        for collection in self._rows.segments_of_all():
            for row in self._rows.where(collection, "", fields):
                yield str(collection.space), row

    def _find_places(self, rows: Sequence[AssetRow], findings: Findings) -> None:
        key = LOCATIONS.key
        places = {location[key]: row for row in rows for location in locations_to_dicts(row)}
        stored = self._rows.of(LOCATIONS, key, list(places), [key])
        for location in places.keys() - {location[key] for location in stored}:
            findings.add_asset(PLACES, places[location])

    def _find_words(self, words: MilvusWords, findings: Findings) -> None:
        key = self._texts.key
        texts = self._rows.where(self._texts, _WITH_WORDS, [key])
        stored = self._rows.where(words.collection, "", [words.collection.key])
        for text, its_words in paired(texts, stored, itemgetter(key)):
            if text and not its_words:
                findings.add(WORDS, text[key])

    def mend(self, findings: Findings) -> None:
        """Write places and words that are missing."""
        for ids in in_batches(findings.of(PLACES), _AT_ONCE):
            rows = self._rows.of(ASSETS, ASSETS.key, ids)
            assets = [asset_from_dict(row, self._lanes) for row in rows]
            self._rows.upsert(LOCATIONS, [x for row in assets for x in locations_to_dicts(row)])
        for keys in in_batches(findings.of(WORDS), _AT_ONCE):
            texts = self._rows.of(self._texts, self._texts.key, keys)
            if self._words:
                self._words.added([scored_from_dict(text, 0.0) for text in texts])

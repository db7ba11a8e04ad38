"""Ingest the files of one shard: files in, committed assets out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoder.services.text_services import TextServices
from encoder.system.allocator import give_back
from encoder.types import TEXT, Modality
from ingest import segments
from ingest.config import IngestConfig
from ingest.kinds.registry import read_by
from ingest.types import Asset
from search.errors import StoreError
from search.store.base import VectorStore
from search.store.locks import exclusive
from search.types import AssetRow, Labels, SegmentRow
from workers.pipeline.commit_rows import commit_row, drop, put, released
from workers.pipeline.encoding import SegmentEncoding
from workers.pipeline.places import (
    File,
    Identifying,
    Places,
    forget_members,
    is_unread,
    nowhere,
    still_there,
)
from workers.pipeline.reports import IngestReport
from workers.pipeline.streams import decode_side_by_side

if TYPE_CHECKING:
    from encoder import MultiModalEncoder


def no_facts(_path: str) -> Mapping[str, Any]:
    return {}


@dataclass
class IngestJob:
    """Ingests files with one encoder into one store.

    Safe to repeat: what is stored already is not encoded again, and every write is an upsert.
    With ``transcripts``, what is said in sounds and films is stored as text with its time; with
    ``read_pictures``, what can be read in pictures and films.
    """

    encoder: MultiModalEncoder
    store: VectorStore
    config: IngestConfig = field(default_factory=IngestConfig)
    batch_segments: int = 64
    decode_threads: int = 2
    transcripts: bool = True
    read_pictures: bool = True
    facts_of: Callable[[str], Mapping[str, Any]] = no_facts
    """Tags and metadata that came with a file, as with an upload, for content that is new."""
    uploaded: Callable[[str, Callable[[], Path]], Path | None] = nowhere
    """Fetches an upload that is not on this disk, into a folder."""
    hashes: dict[File, str] = field(default_factory=dict)
    """The hashes of new files that were read before their shard; see `Places`."""
    only: Set[Modality] = frozenset()
    """The modalities to encode; empty for all."""
    verify: bool = False
    """Whether to read files again whose size and time are as stored."""

    def run(
        self,
        paths: Sequence[str],
        begun: Callable[[Sequence[str]], set[str]] | None = None,
        labels: Labels | None = None,
        go_on: Callable[[], bool] = lambda: True,
    ) -> IngestReport:
        """Ingest these files; those that cannot be decoded are reported, without stopping the rest.

        Args:
            begun: gets the ids of new contents before they are stored, and returns those of an
                earlier try at the same files: what that try stored counts as ingested.
            labels: tags and metadata for these files, also for those that are stored already.
            go_on: called before each batch is encoded; once it returns false, only what was encoded
                to its end is stored, and the rest is not counted.

        Raises:
            StoreError: the store failed; nothing that it did not acknowledge counts as ingested.
            DiskError: the disk of the store, or of temporary files, is full or may not be written.
        """
        report = IngestReport()
        self.store.check_writable()  # before any work
        with ExitStack() as scratch:
            with report.timed("identify"):
                identifying = Identifying(self.config, scratch, report.fail, uploaded=self.uploaded)
                identifying.bring(paths)
                located_files = self.places(identifying).locate(paths)
            located = located_files.assets
            if located_files.is_as_stored and not labels and not (begun and begun([])):
                report.unchanged += sum(map(len, located.values()))
                return report
            with report.timed("lookup"):
                stored_rows = self.store.assets(list(located))
                stored = {name: row for name, row in stored_rows.items() if not is_unread(row)}
                new = [copies[0] for asset_id, copies in located.items() if asset_id not in stored]
                ours = begun([asset.asset_id for asset in new]) if begun else set()
            encoding = self._encode(new, report, go_on)
            report.fail_copies([[copy.uri for copy in copies] for copies in located.values()])
        with report.timed("store"):
            self._commit(located, stored.keys(), encoding, labels or {}, report)
            forget_members(self.store, identifying.archives, located)
        for asset_id in ours & set(stored):
            _count_ingested_before(report, stored[asset_id], located[asset_id])
        return report

    def places(self, identifying: Identifying) -> Places:
        return Places(self.store, identifying, self.hashes, self.verify)

    def _encode(
        self, assets: Sequence[Asset], report: IngestReport, go_on: Callable[[], bool]
    ) -> SegmentEncoding:
        services = self.encoder.services.chosen(read=self.read_pictures, hear=self.transcripts)
        if self.only and TEXT not in self.only:
            services = TextServices()
        encoding = SegmentEncoding(self.encoder, report, self.config, services, self.only)
        batches = decode_side_by_side(
            assets,
            lambda asset: segments(asset, self.config),
            threads=self.decode_threads,
            max_waiting=self.batch_segments,
        )
        with closing(batches):
            for steps in batches:
                if not go_on():
                    break
                encoding.take(steps)
        if assets:
            give_back()  # memory of hearing and reading: 40 MB after the files of `make demo`
        return encoding

    def note(
        self,
        located: Mapping[str, Sequence[Asset]],
        labels: Labels,
        dead: Callable[[AssetRow], set[str]],
        report: IngestReport,
    ) -> None:
        """Store places of contents that are already stored; dead places are forgotten.

        Raises:
            StoreError: as `run`.
        """
        with report.timed("store"):
            nothing = SegmentEncoding(self.encoder, report, self.config)
            self._commit(located, located.keys(), nothing, labels, report, dead)

    def _commit(
        self,
        located: Mapping[str, Sequence[Asset]],
        stored: Set[str],
        encoding: SegmentEncoding,
        labels: Labels,
        report: IngestReport,
        dead: Callable[[AssetRow], set[str]] = lambda _: set(),
    ) -> None:
        """Write segments, then commit rows, then the rows of what these files held before.

        Raises:
            StoreError: content that was stored, and so not encoded, was deleted meanwhile.
        """
        rows = encoding.rows
        uris = [copy.uri for copies in located.values() for copy in copies]
        with exclusive(self.store, located, uris) as at_uris:
            located = still_there(located, at_uris, self.config, report.fail)
            current = self.store.assets(list(located))
            if gone := (stored & located.keys()) - current.keys():
                uri = located[min(gone)][0].uri
                raise StoreError(
                    f"The content of {uri} was deleted from the store in the meantime.",
                    remedy="Run the ingest again.",
                )
            finished = encoding.finished & located.keys()
            anew = [x for x in finished if x in current and is_unread(current[x])]
            writes = self._changed_rows(located, stored, current, encoding, labels, report)
            # A file whose new content failed keeps its former content until the new is committed.
            held_by = {
                copy.uri: asset_id
                for asset_id, copies in located.items()
                if asset_id in stored or asset_id in finished
                for copy in copies
            }
            rows_left = released(at_uris, held_by, {row.asset_id: row for row in writes})
            rows_left, n_dropped = drop(rows_left, held_by, dead)
            if n_dropped:
                report.gone["dropped"] += n_dropped
            new_rows = [r for asset_id in finished for r in rows[asset_id]]
            if shrunk := [x for x in anew if self._has_more(x, rows[x])]:
                self.store.empty(shrunk)
            put(self.store, rows_left.values(), new_rows)

    def _counts(self, rows: Sequence[SegmentRow]) -> Mapping[Modality, int]:
        """Segments by modality; a lane being filled also gets 0 for what was sought in vain."""
        filling = self.store.lanes.filling
        unknown = dict.fromkeys(filling.unknown if filling else (), 0)
        return {**unknown, **Counter(row.modality for row in rows if not row.row)}

    def _has_more(self, asset_id: str, rows: Sequence[SegmentRow]) -> bool:
        """Whether the store has rows that these do not replace."""
        stored = {row.key for row in self.store.embeddings(asset_id)}
        return not stored <= {row.key for row in rows}

    def _changed_rows(
        self,
        located: Mapping[str, Sequence[Asset]],
        stored: Set[str],
        current: Mapping[str, AssetRow],
        encoding: SegmentEncoding,
        labels: Labels,
        report: IngestReport,
    ) -> list[AssetRow]:
        """The commit rows that differ from what is stored; all assets are counted."""
        changed = []
        for asset_id, copies in located.items():
            if asset_id not in stored and asset_id not in encoding.finished:
                continue
            # Of what is stored, a user may have changed the tags since.
            upload_facts = (
                [] if asset_id in current else map(self.facts_of, [c.uri for c in copies])
            )
            facts = {
                name: fact for facts_of_copy in upload_facts for name, fact in facts_of_copy.items()
            }
            rows = encoding.rows[asset_id]
            first = copies[0]
            read_now = None if asset_id in stored else read_by(first.media_type, first.modality)
            row = commit_row(
                copies,
                current.get(asset_id),
                counts=self._counts(rows),
                labels_found=encoding.found_in(asset_id),
                labels={**labels, **facts},
                packages=read_now,
            )
            if row != current.get(asset_id):
                changed.append(row)
            _count(report, asset_id in stored, copies, rows)
        return changed


def _count_ingested_before(report: IngestReport, row: AssetRow, copies: Sequence[Asset]) -> None:
    """Count what an earlier try at this shard stored, since the report of that try was lost."""
    report.unchanged -= len(copies)
    report.ingested += len(copies)
    report.n_bytes += sum(copy.size_bytes for copy in copies)
    report.segments.update({str(row.modality): row.n_segments})


def _count(
    report: IngestReport, was_stored: bool, copies: Sequence[Asset], rows: Sequence[SegmentRow]
) -> None:
    if was_stored:
        report.unchanged += len(copies)
        return
    report.ingested += len(copies)
    report.n_bytes += sum(copy.size_bytes for copy in copies)
    report.segments.update(str(row.modality) for row in rows if not row.row)

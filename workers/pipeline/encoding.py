"""From decoded segments to the rows of a store, batch by batch."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING

from encoder.errors import AnymodalError
from encoder.media.image import mean_colour
from encoder.media.look import LOOK, look_of
from encoder.types import AUDIO, IMAGE, TEXT, Embeddings, Item, Modality, Utterance
from ingest.config import IngestConfig
from ingest.language import SAMPLE_CHARS, language_of
from ingest.types import Asset, Segment
from search.store.schema import segment_id
from search.types import Labels, SegmentRow
from workers.observe.logs import about
from workers.observe.tracing import embedding
from workers.pipeline.places import changed, has_changed
from workers.pipeline.reading import PictureReading
from workers.pipeline.reports import IngestReport
from workers.pipeline.streams import Decoded
from workers.pipeline.transcripts import Transcript

if TYPE_CHECKING:
    from encoder import MultiModalEncoder

Pair = tuple[Asset, Segment]


class SegmentEncoding:
    def __init__(
        self,
        encoder: MultiModalEncoder,
        report: IngestReport,
        *,
        transcripts: bool = True,
        config: IngestConfig | None = None,
    ) -> None:
        self.rows: dict[str, list[SegmentRow]] = defaultdict(list)
        self.finished: set[str] = set()
        """The assets of which every segment was decoded and encoded."""
        self._encoder = encoder
        self._report = report
        self._wants_transcripts = transcripts
        self._failed: set[str] = set()
        self._transcripts: dict[str, Transcript] = {}
        self._config = config if encoder.reads_pictures else None
        self._readings: dict[str, PictureReading] = {}
        self._samples: dict[str, str] = defaultdict(str)
        self._colours: dict[str, str] = {}
        self._looks: dict[str, str] = {}

    def found_in(self, asset_id: str) -> Labels:
        """What an asset's segments say of it, if anything.

        The ``language`` of its texts, or of what is said in it, if that is clear; for a picture or
        a film the ``colour`` to show until its first picture is loaded; for a picture its `LOOK`.
        """
        language = language_of(self._samples[asset_id]) if asset_id in self._samples else ""
        colour, look = (found.get(asset_id, "") for found in (self._colours, self._looks))
        labels = {"language": language, "colour": colour, LOOK: look}
        return {name: value for name, value in labels.items() if value}

    def take(self, steps: Sequence[Decoded]) -> None:
        """Encode the segments among these steps together; an asset's steps come in order."""
        for step in steps:
            if step.error is not None:
                self._fail(step.asset, step.error)
        by_modality: dict[Modality, list[Pair]] = defaultdict(list)
        for step in steps:
            if step.segment and step.asset.asset_id not in self._failed:
                by_modality[step.segment.modality].append((step.asset, step.segment))
        self._encode_side_by_side(by_modality)
        self._end([step for step in steps if step.segment is None])

    def _encode_side_by_side(self, by_modality: Mapping[Modality, Sequence[Pair]]) -> None:
        """Encode in threads: a film's frames and sound have separate networks and use two cores."""
        n_threads = min(len(by_modality), len(os.sched_getaffinity(0)))
        if n_threads < 2:
            for modality, pairs in by_modality.items():
                self._encode(modality, pairs)
            return
        with ThreadPoolExecutor(n_threads, thread_name_prefix="encode") as pool:
            ended = [
                pool.submit(copy_context().run, self._encode, modality, pairs)
                for modality, pairs in by_modality.items()
            ]
        for future in ended:
            future.result()

    def _end(self, steps: Sequence[Decoded]) -> None:
        for step in steps:
            self._report.spend("decode", step.busy_s)
            if has_changed(step.asset):  # its id is the hash of something else
                self._fail(step.asset, changed(step.asset.uri))
        ended = [step.asset for step in steps if step.asset.asset_id not in self._failed]
        with self._report.timed("transcribe"):
            sentences_of = {asset.asset_id: list(self._said(asset)) for asset in ended}
        texts = [
            (asset, segment)
            for asset in ended
            for segment in [
                *sentences_of[asset.asset_id],
                *self._written(asset, len(sentences_of[asset.asset_id])),
            ]
        ]
        if texts:
            self._encode(TEXT, texts)
        self.finished |= {asset.asset_id for asset in ended} - self._failed

    def _written(self, asset: Asset, n_said: int) -> Iterator[Segment]:
        """What was read, as text segments, numbered after those that the file holds."""
        reading = self._readings.pop(asset.asset_id, None)
        n_texts = sum(r.modality == TEXT and not r.row for r in self.rows[asset.asset_id])
        return reading.segments(n_texts + n_said) if reading else iter(())

    def _said(self, asset: Asset) -> Iterator[Segment]:
        transcript = self._transcripts.pop(asset.asset_id, None)
        sentences = transcript.end() if transcript else []
        for index, sentence in enumerate(sentences):
            yield Segment(
                asset.asset_id,
                TEXT,
                index,
                sentence.text,
                start_s=sentence.start_s,
                end_s=sentence.end_s,
                snippet=sentence.text,
                confidence=sentence.confidence,
                language=sentence.language,
            )

    def _encode(self, modality: Modality, pairs: Sequence[Pair]) -> None:
        """Encode together; if that fails, one by one, so that one bad item harms only its asset."""
        items = [Item(segment.modality, segment.content) for _, segment in pairs]
        try:
            with (
                self._report.timed(f"encode_{modality}"),
                embedding(self._encoder.model, self._encoder.space.embed_dim),
            ):
                encoded = self._encoder.encode_each(items)
        except AnymodalError as error:
            if len(pairs) == 1:
                self._fail(pairs[0][0], error)
                return
            for pair in pairs:
                self._encode(modality, [pair])
            return
        fingerprint = self._encoder.space.fingerprint
        for (asset, segment), encoded_item in zip(pairs, encoded, strict=True):
            self.rows[asset.asset_id].extend(_rows(segment, encoded_item.rows, fingerprint))
            if modality == TEXT and len(self._samples[asset.asset_id]) < SAMPLE_CHARS:
                self._samples[asset.asset_id] += segment.content + "\n"
            if modality == IMAGE and asset.modality != TEXT and segment.index == 0:
                self._colours[asset.asset_id] = mean_colour(segment.content)
                if asset.modality == IMAGE:
                    self._looks[asset.asset_id] = look_of(segment.content)
        if self._wants_transcripts and modality == AUDIO:
            self._note(pairs, [encoded_item.heard for encoded_item in encoded])
        if modality == IMAGE and self._config:
            self._read(pairs, self._config)

    def _read(self, pairs: Sequence[Pair], config: IngestConfig) -> None:
        with self._report.timed("read"):
            for asset, segment in pairs:
                reading = self._readings.setdefault(
                    asset.asset_id, PictureReading(self._encoder, asset, config)
                )
                reading.add(segment)

    def _note(self, pairs: Sequence[Pair], heard: Sequence[Sequence[Utterance] | None]) -> None:
        """Pass each window and what was heard in it to the transcript of its asset."""
        with self._report.timed("transcribe"):
            for (asset, segment), spans in zip(pairs, heard, strict=True):
                if spans is None:
                    continue
                transcript = self._transcripts.setdefault(
                    asset.asset_id, Transcript(self._encoder.transcribe)
                )
                transcript.add(segment.content, segment.start_s or 0.0, spans)

    def _fail(self, asset: Asset, error: Exception) -> None:
        if asset.asset_id not in self._failed:
            with about(asset_id=asset.asset_id):
                self._report.fail(asset.uri, error)
        self._failed.add(asset.asset_id)
        self._transcripts.pop(asset.asset_id, None)
        self._readings.pop(asset.asset_id, None)


def _rows(segment: Segment, embeddings: Embeddings, fingerprint: str) -> list[SegmentRow]:
    """A row for each embedding [n_rows, embed_dim] of a segment."""
    key = segment_id(segment.asset_id, segment.modality, segment.index, fingerprint)
    return [
        SegmentRow(
            key,
            segment.asset_id,
            segment.modality,
            segment.index,
            embedding,
            start_s=segment.start_s,
            end_s=segment.end_s,
            char_start=segment.char_start,
            char_end=segment.char_end,
            snippet=segment.snippet,
            confidence=segment.confidence,
            language=segment.language,
            boxes=segment.boxes,
            place=segment.place,
            row=row,
        )
        for row, embedding in enumerate(embeddings)
    ]

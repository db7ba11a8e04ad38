"""From decoded segments to the rows of a store, batch by batch."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING

from encoder.errors import AnymodalError, ModelError
from encoder.media.image import mean_colour
from encoder.media.look import look_of
from encoder.services.reader import LazyReader
from encoder.services.speech import Speech
from encoder.services.text_services import TextServices
from encoder.system.metering import Meter, metered
from encoder.types import AUDIO, IMAGE, TEXT, Embeddings, Item, Modality
from ingest.config import IngestConfig
from ingest.language import SAMPLE_CHARS, language_of
from ingest.types import Asset, Segment
from search.store.schema import segment_id
from search.types import LOOK, SAID, Labels, SegmentRow
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
        config: IngestConfig,
        services: TextServices | None = None,
        only: Set[Modality] = frozenset(),
    ) -> None:
        self.rows: dict[str, list[SegmentRow]] = defaultdict(list)
        self.finished: set[str] = set()
        """The assets of which every segment was decoded and encoded."""
        self._encoder = encoder
        self._report = report
        self._services = services or TextServices()
        self._config = config
        self._only = only
        self._towers = encoder.modalities
        self._limits = self._services.limits(self._towers)
        self._kinds: dict[str, set[Modality]] = defaultdict(set)
        """The kinds of an asset's segments."""
        self._failed: set[str] = set()
        self._transcripts: dict[str, Transcript] = {}
        self._readings: dict[str, PictureReading] = {}
        self._samples: dict[str, str] = defaultdict(str)
        self._colours: dict[str, str] = {}
        self._looks: dict[str, str] = {}
        self._speech_s: dict[str, float] = {}

    def found_in(self, asset_id: str) -> Labels:
        """What an asset's segments say of it, if anything.

        The ``language`` of its texts, or of what is said in it, if that is clear; for a picture or
        a film the ``colour`` to show until its first picture is loaded; for a picture its `LOOK`;
        ``speech_s``, how many seconds of its sound were transcribed, the rest having no words.
        """
        language = language_of(self._samples[asset_id]) if asset_id in self._samples else ""
        labels = {
            "language": language,
            "colour": self._colours.get(asset_id),
            LOOK: self._looks.get(asset_id),
            "speech_s": self._speech_s.get(asset_id),
        }
        return {name: value for name, value in labels.items() if value not in ("", None)}

    def take(self, steps: Sequence[Decoded]) -> None:
        """Encode the segments among these steps together; an asset's steps come in order."""
        for step in steps:
            if step.error is not None:
                self._fail(step.asset, step.error)
        by_modality: dict[Modality, list[Pair]] = defaultdict(list)
        for step in steps:
            if step.segment and step.asset.asset_id not in self._failed:
                by_modality[step.segment.modality].append((step.asset, step.segment))
                self._kinds[step.asset.asset_id].add(step.segment.modality)
        _side_by_side(list(self._jobs(by_modality)))
        self._end([step for step in steps if step.segment is None])

    def _jobs(self, by_modality: Mapping[Modality, Sequence[Pair]]) -> Iterator[Callable[[], None]]:
        """What is done with segments: each network is another job, so that they use two cores."""
        for modality, pairs in by_modality.items():
            is_wanted = not self._only or modality in self._only
            if is_wanted and (modality in self._towers or modality not in self._limits):
                yield partial(self._encode, modality, pairs)
        if TEXT not in self._towers:
            return
        if self._services.speech and AUDIO in by_modality:
            hear = partial(self._hear, self._services.speech)
            yield partial(self._serve, "transcribe", hear, by_modality[AUDIO])
        if self._services.reader and IMAGE in by_modality:
            read = partial(self._read, self._services.reader)
            yield partial(self._serve, "read", read, by_modality[IMAGE])

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
        for asset in ended:
            self._tell(asset)
        self.finished |= {asset.asset_id for asset in ended} - self._failed

    def _tell(self, asset: Asset) -> None:
        """Report what cannot be found of an asset; one of which nothing can be found is set aside.

        That is tried again, as all that is set aside, with what may be there by then.
        """
        kinds = self._kinds.pop(asset.asset_id, set())
        if self._only:  # the rest is found elsewhere
            kinds = (kinds & self._only) - self._towers
        limits = [self._limits[modality] for modality in sorted(kinds & self._limits.keys())]
        if limits and not self.rows[asset.asset_id]:
            nothing = ModelError(
                f"Nothing in it can be found: {'; '.join(limits)}.",
                remedy="Use a model that has such a tower; `anymodal models list` says what each "
                "lacks.",
            )
            self._fail(asset, nothing)
        elif asset.asset_id not in self._failed:
            self._report.limits.update(limits)

    def _written(self, asset: Asset, n_said: int) -> Iterator[Segment]:
        """What was read, as text segments, numbered after those that the file holds."""
        reading = self._readings.pop(asset.asset_id, None)
        n_texts = sum(r.modality == TEXT and not r.row for r in self.rows[asset.asset_id])
        return reading.segments(n_texts + n_said) if reading else iter(())

    def _said(self, asset: Asset) -> Iterator[Segment]:
        transcript = self._transcripts.pop(asset.asset_id, None)
        sentences = transcript.end() if transcript else []
        if transcript:
            spoken_s = sum(sentence.end_s - sentence.start_s for sentence in sentences)
            self._speech_s[asset.asset_id] = round(spoken_s, 1)
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
        """Encode together; if that fails, one by one, so that one bad item harms only its asset.

        An error that may pass, as of a model's server that is away, is raised.
        """
        items = [Item(segment.modality, segment.content) for _, segment in pairs]
        lane = self._encoder.lane(modality)
        try:
            with (
                self._report.timed(f"encode_{modality}"),
                embedding(lane.model, lane.space.embed_dim),
                metered(meter := Meter()),
            ):
                encoded = self._encoder.encode_rows(items)
            self._report.tokens.update(encoded=round(meter.tokens), kept=round(meter.kept))
        except AnymodalError as error:
            if error.retryable:
                raise
            if len(pairs) == 1:
                self._fail(pairs[0][0], error)
                return
            for pair in pairs:
                self._encode(modality, [pair])
            return
        fingerprint = lane.space.fingerprint
        for (asset, segment), embeddings in zip(pairs, encoded, strict=True):
            self.rows[asset.asset_id].extend(segment_rows(segment, embeddings, fingerprint))
            if modality == TEXT and len(self._samples[asset.asset_id]) < SAMPLE_CHARS:
                self._samples[asset.asset_id] += segment.content + "\n"
            if modality == IMAGE and asset.modality != TEXT and segment.index == 0:
                self._colours[asset.asset_id] = mean_colour(segment.content)
                if asset.modality == IMAGE:
                    self._looks[asset.asset_id] = look_of(segment.content)

    def _serve(
        self, stage: str, service: Callable[[Asset, Segment], None], pairs: Sequence[Pair]
    ) -> None:
        """Read or hear segments one by one; where that fails, it harms only their asset."""
        with self._report.timed(stage):
            for asset, segment in pairs:
                try:
                    service(asset, segment)
                except AnymodalError as error:
                    self._fail(asset, error)

    def _read(self, reader: LazyReader, asset: Asset, picture: Segment) -> None:
        reading = PictureReading(reader, asset, self._config)
        self._readings.setdefault(asset.asset_id, reading).add(picture)

    def _hear(self, speech: Speech, asset: Asset, window: Segment) -> None:
        transcript = self._transcripts.setdefault(asset.asset_id, Transcript(speech.transcribe))
        transcript.add(window.content, window.start_s or 0.0, speech.spans(window.content))

    def _fail(self, asset: Asset, error: Exception) -> None:
        if asset.asset_id not in self._failed:
            with about(asset_id=asset.asset_id):
                self._report.fail(asset.uri, error)
        self._failed.add(asset.asset_id)
        self._transcripts.pop(asset.asset_id, None)
        self._readings.pop(asset.asset_id, None)


def _side_by_side(jobs: Sequence[Callable[[], None]]) -> None:
    """Run jobs in threads: a film's frames and sound have separate networks and use two cores."""
    n_threads = min(len(jobs), len(os.sched_getaffinity(0)))
    if n_threads < 2:
        for job in jobs:
            job()
        return
    with ThreadPoolExecutor(n_threads, thread_name_prefix="encode") as pool:
        ended = [pool.submit(copy_context().run, job) for job in jobs]
    for future in ended:
        future.result()


def segment_rows(segment: Segment, embeddings: Embeddings, fingerprint: str) -> list[SegmentRow]:
    """A row for each embedding [n_rows, embed_dim] of a segment."""
    key = segment_id(segment.asset_id, segment.modality, segment.index, fingerprint)
    return [
        SegmentRow(
            key,
            segment.asset_id,
            segment.modality,
            segment.index,
            embedding,
            **{name: getattr(segment, name) for name in SAID[:-1]},
            row=row,
        )
        for row, embedding in enumerate(embeddings)
    ]

"""What an earlier version stored otherwise, made again from the files, without the rest.

Photos get the looks that they lack; nothing is encoded for that. Sounds, and the sound tracks of
films, are encoded again where the model's sound rows have changed (`encoder.space.Space`). Rows of
several versions may lie side by side, so searches and writes go on meanwhile. An asset is done once
its commit row says so: a run that was interrupted is continued by the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

from encoder.errors import MediaError
from encoder.media.look import LOOK, look_of
from encoder.system.batched import in_batches
from encoder.types import AUDIO, IMAGE, Item
from ingest.pipeline import segments
from ingest.types import Failure, Segment
from search.store.locks import exclusive
from search.types import HEARD_BY, AssetRow, SegmentRow
from workers.pipeline.commit_rows import put
from workers.pipeline.encoding import segment_rows
from workers.pipeline.ingest_pipeline import IngestPipeline
from workers.pipeline.places import Identifying, Places, changed

_AT_ONCE = 64
_WINDOWS_AT_ONCE = 16
_MORE_WINDOWS = "Its sound was cut into more windows before. Delete it and ingest it again."


@dataclass
class Renewed:
    """What was done.

    Args:
        n_photos: photos that got a look.
        n_sounds: sounds and films whose sound was encoded again.
        failures: the sounds that stay as they were stored, and why.
    """

    n_photos: int = 0
    n_sounds: int = 0
    failures: list[Failure] = field(default_factory=list)


def renew(pipeline: IngestPipeline, on_progress: Callable[[int, int], object]) -> Renewed:
    """Renew photos and sounds; those whose file is gone or has changed stay as they are.

    Args:
        pipeline: over the store; says how files and uploads are read.
        on_progress: called with the assets seen and their total.

    Raises:
        ModelError: the model fails.
        StoreError: the store fails.
    """
    store, n_seen, renewed = pipeline.store, 0, Renewed()
    identity, n_all = pipeline.encoder.lane(AUDIO).space.identities.get(AUDIO, ""), store.count()
    for rows in in_batches(store.scan(), _AT_ONCE):
        looks = {row.asset_id: look for row in rows if (look := _look(row, pipeline))}
        with exclusive(store, looks):
            current = store.assets(list(looks)).values()
            put(store, [_with(row, LOOK, looks[row.asset_id]) for row in current], [])
        renewed.n_photos += len(looks)
        for row in rows:
            if not (row.is_gone or row.is_heard_by(identity)):
                _hear(row, identity, pipeline, renewed)
        n_seen += len(rows)
        on_progress(n_seen, max(n_all, n_seen))
    if renewed.n_sounds:
        pipeline.calibrate_if_due(is_last=True)
    return renewed


def _with(row: AssetRow, name: str, fact: str) -> AssetRow:
    return replace(row, metadata={**row.metadata, name: fact})


def _look(row: AssetRow, pipeline: IngestPipeline) -> str:
    """The look of a photo without one."""
    if row.modality != IMAGE or row.is_gone or LOOK in row.metadata:
        return ""
    try:
        with _decoded(row, pipeline) as pictures:
            # To the end: a decoder that is left early is started again for the next file.
            first, *_ = pictures
            return look_of(first.content)
    except MediaError:
        return ""


def _hear(row: AssetRow, identity: str, pipeline: IngestPipeline, renewed: Renewed) -> None:
    """Encode the sound of an asset again; its other rows stay."""
    store = pipeline.store
    try:
        with _decoded(row, pipeline) as decoded:
            windows = (segment for segment in decoded if segment.modality == AUDIO)
            sounds = [
                sound_row
                for some in in_batches(windows, _WINDOWS_AT_ONCE)
                for sound_row in _encoded(some, pipeline)
            ]
    except MediaError as error:
        renewed.failures.append(Failure(row.locations[0], type(error).__name__, str(error)))
        return
    with exclusive(store, [row.asset_id]):
        if current := store.assets([row.asset_id]).get(row.asset_id):
            stored = {r.key for r in store.embeddings(row.asset_id) if r.modality == AUDIO}
            if not stored <= {sound.key for sound in sounds}:
                # Without them it would have to be deleted first, and a kill in between loses it.
                renewed.failures.append(Failure(row.locations[0], "MoreWindows", _MORE_WINDOWS))
                return
            put(store, [_with(current, HEARD_BY, identity)], sounds)
            renewed.n_sounds += 1


def _encoded(windows: list[Segment], pipeline: IngestPipeline) -> Iterator[SegmentRow]:
    fingerprint = pipeline.encoder.lane(AUDIO).space.fingerprint
    encoded = pipeline.encoder.encode_rows([Item(AUDIO, window.content) for window in windows])
    for window, embeddings in zip(windows, encoded, strict=True):
        yield from segment_rows(window, embeddings, fingerprint)


@contextmanager
def _decoded(row: AssetRow, pipeline: IngestPipeline) -> Iterator[Iterator[Segment]]:
    """The segments of an asset, from the first of its files that still holds it.

    Raises:
        MediaError: none of them does, or while iterating.
    """
    failed: list[MediaError] = []
    with ExitStack() as scratch:
        identifying = Identifying(
            pipeline.config,
            scratch,
            lambda _, error: failed.append(error),
            uploaded=pipeline.uploaded,
        )
        for uri in row.locations:
            Places(pipeline.store, identifying).bring([uri])
            for asset in identifying.assets(uri):
                if asset.asset_id == row.asset_id:
                    yield segments(asset, pipeline.config)
                    return
    raise failed[0] if failed else changed(row.locations[0])

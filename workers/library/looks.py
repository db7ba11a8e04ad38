"""The looks of photos that were stored before there were looks: read from files, not encoded."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace

from encoder.errors import MediaError
from encoder.media.look import LOOK, look_of
from encoder.system.batched import in_batches
from encoder.types import IMAGE
from ingest.pipeline import segments
from search.store.locks import exclusive
from search.types import AssetRow
from workers.pipeline.commit_rows import put
from workers.pipeline.ingest_pipeline import IngestPipeline
from workers.pipeline.places import Identifying

_AT_ONCE = 64


def add_looks(pipeline: IngestPipeline, on_progress: Callable[[int, int], object]) -> int:
    """Note the look of each photo that has none; return how many got one.

    Photos whose file is gone, has changed or lies in an object store stay as they are. Searches and
    writes may go on meanwhile, and the call may be repeated.

    Args:
        pipeline: over the store; says how files and uploads are read.
        on_progress: called with the assets seen and their total.
    """
    store, n_seen, n_added = pipeline.store, 0, 0
    n_all = store.count()
    for rows in in_batches(store.scan(), _AT_ONCE):
        looks = {row.asset_id: look for row in rows if (look := _look(row, pipeline))}
        with exclusive(store, looks):
            current = store.assets(list(looks)).values()
            put(store, [_with_look(row, looks[row.asset_id]) for row in current], [])
        n_seen, n_added = n_seen + len(rows), n_added + len(looks)
        on_progress(n_seen, max(n_all, n_seen))
    return n_added


def _with_look(row: AssetRow, look: str) -> AssetRow:
    return replace(row, metadata={**row.metadata, LOOK: look})


def _look(row: AssetRow, pipeline: IngestPipeline) -> str:
    """The look of a photo without one, from the first of its files that still holds it."""
    if row.modality != IMAGE or row.is_gone or LOOK in row.metadata:
        return ""
    for uri in row.locations:
        with ExitStack() as scratch, suppress(MediaError):
            identifying = Identifying(
                pipeline.config, scratch, lambda *_: None, uploaded=pipeline.uploaded
            )
            identifying.bring([uri])
            for asset in identifying.assets(uri):
                if asset.asset_id == row.asset_id:
                    # To the end: a decoder that is left early is started again for the next file.
                    first, *_ = segments(asset, pipeline.config)
                    return look_of(first.content)
    return ""

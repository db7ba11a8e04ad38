"""Results as plain JSON values, without paths of the server."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from itertools import islice
from typing import Any

from pydantic import BaseModel, Field

from search.api.schemas import MomentOut
from search.api.services import Services
from search.errors import StoreError
from search.jobs import FailedFile, Job, Jobs
from search.ranking.hits import shown_location
from search.store.base import VectorStore
from search.store.overview import FACETS, Facets
from search.types import AssetRow, Hit, Moment, SearchResult
from search.uploads import UploadFolder

# A path can contain spaces: text after one belongs to it if another slash follows.
_PATH = re.compile(r"(?<![\w/.:])/(?:[^\n/]*/)*(?=[^\n/])")


def search_answer(result: SearchResult, *, with_uri: bool = False) -> dict[str, Any]:
    """As `search.api.schemas.SearchAnswer`, without the latency, which is known last."""
    return {
        "hits": [hit_json(hit, with_uri=with_uri) for hit in result.hits],
        "next_cursor": result.next_cursor,
        "explain": result.explain,
        "understood": [asdict(reading) for reading in result.understood],
        "warnings": list(result.warnings),
        "judged": result.judged,
        "total": result.total,
    }


def hit_json(hit: Hit, *, with_uri: bool = False) -> dict[str, Any]:
    """As `search.api.schemas.HitOut`."""
    at = f"?t={hit.start_s:g}" if hit.start_s is not None else ""
    return {
        **_described(hit.asset_id, hit.uri, hit.media_type, hit.metadata),
        "uri": hit.uri if with_uri else None,
        **_moment(hit),
        "probability": hit.probability,
        "weak": hit.weak,
        "rerank_score": hit.rerank_score,
        "moments": [_moment(moment) for moment in hit.moments],
        "explanation": asdict(hit.explanation) if hit.explanation else None,
        "stack": [hit_json(other, with_uri=with_uri) for other in hit.stack],
        **_urls(hit.asset_id, at),
    }


def _moment(segment: Hit | Moment) -> dict[str, Any]:
    """As `search.api.schemas.MomentOut`."""
    fields = {name: getattr(segment, name) for name in MomentOut.model_fields}
    return {**fields, "modality": str(segment.modality)}


def asset_json(asset: AssetRow) -> dict[str, Any]:
    """As `search.api.schemas.AssetOut`."""
    return {
        **_described(
            asset.asset_id, shown_location(asset.locations), asset.media_type, asset.shown_metadata
        ),
        "modality": str(asset.modality),
        "size_bytes": asset.size_bytes,
        "n_segments": asset.n_segments,
        **_urls(asset.asset_id),
    }


def job_json(
    job: Job, uploads: UploadFolder, failures: Iterable[FailedFile] = ()
) -> dict[str, Any]:
    """As `search.api.schemas.JobOut`."""
    return {
        "id": job.job_id,
        "state": job.state,
        "files": job.n_files,
        "ingested": job.ingested,
        "unchanged": job.unchanged,
        "left_out": job.left_out,
        "failed": job.failed,
        "segments": dict(job.segments),
        "limits": dict(job.limits),
        "tokens": dict(job.tokens),
        "failures": [failure_json(failure) for failure in failures],
        "seconds": round(job.seconds, 3),
        "left_s": job.left_s,
        "asset_ids": uploads.owners_of(job.request.paths),
        "reason": without_paths(job.reason),
        "waits_for": without_paths(job.waits_for),
    }


def failure_json(failure: FailedFile) -> dict[str, str]:
    """As `search.api.schemas.RefusedOut`."""
    name = file_name(failure.uri)
    reason = without_paths(failure.reason.replace(failure.uri, name))
    return {"name": name, "error": failure.error, "reason": reason}


def file_name(uri: str) -> str:
    """The last part of a path or URL.

    >>> file_name("/srv/photos/a.jpg"), file_name("https://example.org/talks/b.mp3?x=1")
    ('a.jpg', 'b.mp3')
    """
    path = re.sub(r"[?#].*", "", uri) if re.match(r"https?://", uri) else uri
    return path.rstrip("/").rsplit("/", 1)[-1]


def without_paths(text: str) -> str:
    """Shorten each absolute path in a message to its last part.

    >>> without_paths("a.jpg is a link that leads out of the folder, to /srv/my films/b.mp4.")
    'a.jpg is a link that leads out of the folder, to b.mp4.'
    """
    return _PATH.sub("", text)


def latency_ms(latency_s: Mapping[str, float]) -> dict[str, float]:
    """Milliseconds, to the microsecond."""
    return {stage: round(seconds * 1000, 3) for stage, seconds in latency_s.items()}


def server_timing(latency_s: Mapping[str, float]) -> str:
    """The header ``Server-Timing``.

    >>> server_timing({"search": 0.0123, "total": 0.02})
    'search;dur=12.3, total;dur=20'
    """
    return ", ".join(f"{name};dur={ms:.10g}" for name, ms in latency_ms(latency_s).items())


def _described(
    asset_id: str, uri: str, media_type: str, metadata: Mapping[str, Any]
) -> dict[str, Any]:
    name = file_name(uri)
    duration_s = metadata.get("duration_s")
    return {
        "asset_id": asset_id,
        "name": name,
        "media_type": media_type,
        "title": metadata.get("title") or name,
        "duration_s": float(duration_s) if duration_s else None,
        "tags": metadata.get("tags", []),
        "metadata": metadata,
    }


def _urls(asset_id: str, at: str = "") -> dict[str, str]:
    home = f"/v1/assets/{asset_id}"
    return {"content_url": f"{home}/content", "thumbnail_url": f"{home}/thumbnail{at}"}


_MOST_FAILURES = 1000


def job_status(jobs: Jobs, store: VectorStore, job_id: str) -> Job:
    """The status of a job. Once it reports the end, the next search finds its files.

    Other workers wrote them, so this server's reads may otherwise lag by seconds.
    """
    job = jobs.status(job_id)
    if job.ended:
        with suppress(StoreError):  # the job has ended even if the store is unreachable by now
            store.catch_up()
    return job


async def job_document(services: Services, job_id: str) -> tuple[Job, dict[str, Any]]:
    """A job, and its JSON in the API."""

    def read(_turn: object) -> tuple[Job, dict[str, Any]]:
        job = job_status(services.jobs, services.store, job_id)
        failures = islice(services.jobs.failures(job_id), _MOST_FAILURES)
        return job, job_json(job, services.uploads, failures)

    return await services.workbench.run(read)


_SHOWN = 100


class CountOut(BaseModel):
    """How many assets have a value."""

    value: str
    count: int


class FacetOut(BaseModel):
    """The values of a field that most assets have, and how many others there are."""

    values: list[CountOut]
    others: int


class FacetsAnswer(BaseModel):
    """Counts of the assets that a filter leaves."""

    assets: int
    complete: bool = Field(description="False if only a part of a large library was counted.")
    fields: dict[str, FacetOut] = Field(description=f"Counts by {', '.join(FACETS)}.")
    folders: FacetOut = Field(
        description="Folders below `folder`, with the files in them; for a key that may not see "
        "paths, within public roots. Filter by one with `prefix` on the path."
    )
    months: list[CountOut] = Field(
        description="`YYYY-MM` in UTC, newest first: when a picture was taken, or a file changed."
    )


def facets_json(facets: Facets, folders: Mapping[str, int]) -> dict[str, Any]:
    """As `FacetsAnswer`."""
    months = sorted(facets.months.items(), reverse=True)
    return {
        "assets": facets.assets,
        "complete": facets.complete,
        "fields": {field: _facet(counts) for field, counts in facets.values.items()},
        "folders": _facet(folders),
        "months": [{"value": month, "count": n} for month, n in months],
    }


def _facet(counts: Mapping[str, int]) -> dict[str, Any]:
    ranked = sorted(counts.items(), key=lambda counted: (-counted[1], counted[0]))
    top = [{"value": value, "count": n} for value, n in ranked[:_SHOWN]]
    return {"values": top, "others": len(ranked) - len(top)}

"""Answers as agents read them: which file, where in it, and why. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, Field

from search.api.schemas import AssetOut, HitOut, JobOut, MomentOut, SearchAnswer
from search.filters.tree import FIELDS, Operator
from search.likelihood import likelihood

_MOST_FAILURES = 20


class FoundFile(BaseModel):
    """A file that fits, and the part of it that fits best."""

    asset_id: str = Field(description="Pass it to `get` and `similar`.")
    name: str
    location: str | None = Field(None, description="Its path or URL, if the key may see it.")
    modality: str
    media_type: str
    where: str = Field("", description="The page, sheet, heading or time.")
    start_s: float | None = Field(
        None, description="Pass it as `at_s` to `get` to show this moment."
    )
    page: int | None = None
    text: str = Field("", description="What is written or said there.")
    score: float
    probability: float | None = Field(
        None,
        description="How likely it answers, 0 to 1, never rising down the list; null where nothing "
        "was judged.",
    )
    likely: str = Field(
        "", description="The probability in a word; empty where nothing was judged."
    )
    weak: bool = Field(
        False, description="No better than what a question that nothing answers finds."
    )
    moments: list[str] = Field([], description="Further matching places in the file.")
    alike: list[str] = Field([], description="The asset_ids of further shots of the same photo.")
    tags: list[str] = []
    metadata: dict[str, Any] = {}


class FoundPage(BaseModel):
    """Files, best first."""

    results: list[FoundFile]
    next_cursor: str = Field("", description="Pass as `cursor` for more; empty at the end.")
    judged: bool = Field(
        True,
        description="False for media, stored files, negative terms, and dates or places alone: "
        "files are only ranked.",
    )
    total: int | None = Field(
        None, description="How many files of all pages are not weak; null if not known."
    )
    took_ms: float = Field(0.0, description="From the question, or the end of its sound.")
    warnings: list[str] = Field([], description="What is missing, or in the filter misspelt.")


class Listed(BaseModel):
    """Stored files."""

    assets: list[AssetOut]
    next_cursor: str
    warnings: list[str] = []


class JobStatus(BaseModel):
    """The status of an ingest job."""

    job_id: str
    state: str
    files: int
    ingested: int
    unchanged: int
    failed: int
    asset_ids: list[str] = []
    failures: list[str] = []


def found_page(answer: SearchAnswer) -> FoundPage:
    """An answer as agents read it."""
    return FoundPage(
        results=list(map(_found, answer.hits)),
        next_cursor=answer.next_cursor,
        judged=answer.judged,
        total=answer.total,
        took_ms=answer.latency_ms["total"],
        warnings=answer.warnings,
    )


def job_status(job: JobOut) -> JobStatus:
    """A job, with its first failures in words."""
    lines = [f"{entry.name}: {entry.reason}" for entry in job.failures[:_MOST_FAILURES]]
    if n_more := len(job.failures) - len(lines):
        lines.append(f"and {n_more} more")
    counts = job.model_dump(include={"state", "files", "ingested", "unchanged", "failed"})
    return JobStatus(job_id=job.id, asset_ids=job.asset_ids, failures=lines, **counts)


def place_of(moment: MomentOut) -> str:
    """Where in a file something is.

    >>> place_of(MomentOut(segment_id="s", modality="video", score=1.0, start_s=62.0, end_s=65.5))
    '1:02 to 1:05'
    >>> place_of(MomentOut(segment_id="s", modality="text", score=1.0, place={"page": 3}))
    'page 3'
    """
    parts = [f"{name} {value}" for name, value in moment.place.items()]
    if moment.start_s is not None:
        end = "" if moment.end_s is None else f" to {_clock(moment.end_s)}"
        parts.append(_clock(moment.start_s) + end)
    return ", ".join(parts)


def filter_help() -> str:
    """The filter language in words, from the fields that there are."""
    fields = "; ".join(f"{name}: {kind.value}" for name, kind in FIELDS.items())
    return (
        'A condition is {"field": NAME, OPERATOR: VALUE}; {"and": [...]}, {"or": [...]} and '
        '{"not": {...}} join conditions. '
        f"Operators: {', '.join(Operator)}. Fields: {fields}; metadata.KEY: what was stored with "
        'the file. Example: {"and": [{"field": "tags", "contains": "beach"}, '
        '{"field": "taken", "gte": "2026-05-01"}]}'
    )


def shortened(text: str, start: int, max_chars: int) -> str:
    """A part of a text, with a note of how much is left."""
    piece, n_left = text[start : start + max_chars], len(text) - start - max_chars
    if n_left <= 0:
        return piece
    return f"{piece}\n\n[{n_left} characters follow: call again with start={start + max_chars}]"


def _found(hit: HitOut) -> FoundFile:
    page = hit.place.get("page")
    facts = hit.model_dump(include=FoundFile.model_fields.keys() & HitOut.model_fields.keys())
    return FoundFile.model_validate(
        {
            **facts,
            "location": hit.uri,
            "where": place_of(hit),
            "page": page if isinstance(page, int) else None,
            "text": hit.snippet,
            "score": round(hit.score, 3),
            "likely": likelihood(hit.probability, weak=hit.weak),
            "moments": _moments(hit.moments),
            "alike": [other.asset_id for other in hit.stack],
            "metadata": dict(_short(hit.metadata)),
        }
    )


def _moments(moments: Sequence[MomentOut]) -> list[str]:
    lines = (": ".join(filter(None, (place_of(entry), entry.snippet))) for entry in moments)
    return [entry for entry in lines if entry]


def _short(metadata: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The values that are short enough for a model; long ones stay in `list`."""
    return [(name, value) for name, value in metadata.items() if len(str(value)) <= 200]


def _clock(seconds: float) -> str:
    minutes, left_s = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left_s:02}" if hours else f"{minutes}:{left_s:02}"

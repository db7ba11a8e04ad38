"""What is stored: lists, counts and single assets, as plain values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from search.errors import NotFoundError
from search.filters import And, Compare, Operator
from search.query.unmatched import unmatched
from search.ranking.hits import shown_location
from search.types import AssetRow, SegmentRow
from workers.cli.query import conditions_of, filter_of, kinds_of

if TYPE_CHECKING:
    from search.store.base import VectorStore

_SNIPPET_CHARS = 200


def listed(options: Mapping[str, Any], store: VectorStore) -> dict[str, Any]:
    """A page of ``assets`` in the order of their ids, and ``next_page``, empty at the end.

    Args:
        options: ``conditions``, ``tags``, ``path`` and ``modality`` as for a search, ``limit`` and
            ``page``.
        store: where to look.

    Raises:
        InputError: an option cannot be understood.
    """
    limit, kinds = options["limit"], tuple(map(str, kinds_of(options["modality"])))
    condition = given = filter_of(
        conditions_of(options["conditions"], options["tags"], options["path"])
    )
    if kinds:
        of_kinds = Compare("modality", Operator.IN, kinds)
        condition = And((of_kinds, condition)) if condition else of_kinds
    ids = list(islice(store.select(condition, limit=limit + 1, after=options["page"]), limit + 1))
    rows = store.assets(ids[:limit])
    return {
        "assets": [plain(rows[asset_id]) for asset_id in ids[:limit] if asset_id in rows],
        "next_page": ids[limit - 1] if len(ids) > limit else "",
        "warnings": unmatched(given, store, is_empty=not ids),
    }


def counted(store: VectorStore) -> dict[str, Any]:
    """Counts and sizes by kind, languages, media types, years and the span of dates."""
    kinds: dict[str, Counter[str]] = {}
    languages, media_types, years = Counter[str](), Counter[str](), Counter[str]()
    dates: list[float] = []
    n_gone = n_places = 0
    for row in store.scan():
        of_modality = kinds.setdefault(str(row.modality), Counter())
        of_modality.update(assets=1, bytes=row.size_bytes, segments=row.n_segments)
        media_types[row.media_type] += 1
        if language := row.metadata.get("language"):
            languages[str(language)] += 1
        if (date_s := _date_s(row)) is not None:
            dates = [min([*dates, date_s]), max([*dates, date_s])]
            years[day(date_s)[:4]] += 1
        n_gone += row.is_gone
        n_places += len(row.locations)
    return {
        "assets": sum(of_modality["assets"] for of_modality in kinds.values()),
        "bytes": sum(of_modality["bytes"] for of_modality in kinds.values()),
        "places": n_places,
        "gone": n_gone,
        "kinds": {name: dict(kinds[name]) for name in sorted(kinds)},
        "segments": {str(of_modality): n for of_modality, n in sorted(store.sizes().items())},
        "languages": dict(languages.most_common()),
        "media_types": dict(media_types.most_common()),
        "years": dict(sorted(years.items())),
        "oldest": day(dates[0]) if dates else None,
        "newest": day(dates[-1]) if dates else None,
    }


def described(store: VectorStore, target: str) -> dict[str, Any]:
    """All that is stored of an asset, by its id or one of its places.

    Raises:
        NotFoundError: nothing is stored of it.
    """
    rows = [*store.assets([target]).values(), *store.assets_at([target]).get(target, [])]
    if not rows:
        raise NotFoundError(
            f"Nothing is stored for {target}.",
            "Ingest it, or look for it with `anymodal list --path FOLDER`.",
        )
    row = rows[0]
    vectors = store.embeddings(row.asset_id)
    n_vectors = Counter(segment.segment_id for segment in vectors)
    segments = [
        _segment(segment) | {"vectors": n_vectors[segment.segment_id]}
        for segment in vectors
        if not segment.row
    ]
    return {**plain(row), "locations": list(row.locations), "segments": segments}


def plain(row: AssetRow) -> dict[str, Any]:
    return {
        "asset_id": row.asset_id,
        "uri": shown_location(row.locations),
        "modality": str(row.modality),
        "media_type": row.media_type,
        "size_bytes": row.size_bytes,
        "n_segments": row.n_segments,
        "gone": row.is_gone,
        "metadata": dict(row.metadata),
    }


def _segment(row: SegmentRow) -> dict[str, Any]:
    facts = {
        "start_s": row.start_s,
        "end_s": row.end_s,
        "char_start": row.char_start,
        "char_end": row.char_end,
        "place": row.place,
        "language": row.language,
        "snippet": row.snippet[:_SNIPPET_CHARS],
    }
    filled = {name: value for name, value in facts.items() if value not in (None, "")}
    return {"modality": str(row.modality), "index": row.index, **filled}


def _date_s(row: AssetRow) -> float | None:
    """When it was taken, else when it was last changed."""
    for name in ("taken", "modified"):
        value = row.metadata.get(name)
        if isinstance(value, int | float) and 0 < value < 1e11:
            return float(value)
    return None


def day(seconds: float) -> str:
    """A date.

    >>> day(0.0)
    '1970-01-01'
    """
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()

"""The query on the command line: options to terms and filters, and the search itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoder.errors import InputError
from encoder.types import DOCUMENT, QUERY, TEXT, Modality

if TYPE_CHECKING:
    from ingest.config import IngestConfig
    from search import SearchEngine
    from search.filters import Filter
    from search.query.query import Term
    from search.store.base import VectorStore
    from workers.serving.resources import Resources


# Enough to push unwanted hits out of sight, with little effect on others; see docs/search.md.
NOT_WEIGHT = 0.5
FILES = {"image": "image", "audio": "audio", "video": "video", "query_file": "file", "like": "like"}
"""Options that take files, and what the API calls their terms."""
_WEIGHTED = re.compile(r"(.+)\^(\d+(?:\.\d+)?)", re.DOTALL)


def terms_of(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All terms as `search.client` takes them; each can end in ``^`` and a weight on the line.

    That of ``--like`` with a file is ``{"like": PATH}``.

    Raises:
        InputError: a file is missing.
    """
    texts = [" ".join(options["words"])] if options["words"] else []  # words split by the shell
    terms = [_weighted("text", words) for words in [*texts, *options["text"]]]
    terms += [_weighted("text", words, -NOT_WEIGHT) for words in options["unwanted"]]
    for option, modality in FILES.items():
        terms += [_weighted(modality, words) for words in options[option]]
    return terms


def _weighted(modality: str, words: str, default: float = 1.0) -> dict[str, Any]:
    content, weight = split_weight(words)
    signed = default if weight is None else weight if default > 0 else -weight
    if modality == "text":
        return {modality: content, "weight": signed}
    path = Path(content).expanduser()
    if path.is_file():
        return {modality: path, "weight": signed}
    if modality == "like":
        return {"asset_id": content, "weight": signed}
    raise InputError(modality, got=f"path {content!r}, not a file", wanted="a file to search with")


def split_weight(words: str) -> tuple[str, float | None]:
    """Split a term into its text and its weight, if any.

    >>> split_weight("a beach^2.5")
    ('a beach', 2.5)
    >>> split_weight("2^n apples")
    ('2^n apples', None)
    """
    match = _WEIGHTED.fullmatch(words)
    return (match[1], float(match[2])) if match else (words, None)


def read_term(term: Mapping[str, Any], store: VectorStore, config: IngestConfig) -> Term:
    """A term of `terms_of` as the engine takes it; ``config`` says how its file is read.

    More like a file is more like the asset with its content, or else like the file as it would be
    stored.

    Raises:
        MediaError: its file cannot be read.
    """
    from encoder.inputs import AudioFormat, read_argument
    from search.query.query import Term

    (modality, content), (_, weight) = term.items()
    if modality == "asset_id":
        return Term(asset_id=content, weight=weight)
    if modality not in ("file", "like"):
        item = read_argument(modality, content, AudioFormat()).items[0]
        return Term(item, weight=weight)
    from ingest import identify, whole

    asset = identify(content, config)
    if modality == "like" and store.assets([asset.asset_id]):
        return Term(asset_id=asset.asset_id, weight=weight)
    item = whole(asset, config)
    # A file of text is not a question: it should find similar texts.
    is_example = modality == "like" or item.modality == TEXT
    return Term(item, weight=weight, role=DOCUMENT if is_example else QUERY)


def conditions_of(
    conditions: Iterable[str], tags: Iterable[str], path: str | None, kinds: Iterable[str] = ()
) -> Any:
    """A filter of all of these conditions, in plain values; None if there are none.

    >>> conditions_of([], ["sea"], None)
    {'field': 'tags', 'contains': 'sea'}
    """
    parts: list[Any] = [*conditions, *({"field": "tags", "contains": tag} for tag in tags)]
    if path is not None:
        from ingest.sources.objects import whole_path

        parts.append({"field": "path", "prefix": whole_path(path)})
    if media_types := media_types_of(kinds):
        parts.append({"field": "media_type", "in": media_types})
    return None if not parts else parts[0] if len(parts) == 1 else {"and": parts}


def filter_of(conditions: Any) -> Filter | None:
    """What `conditions_of` returns as the store takes it."""
    from search.filters import parse_filter

    return None if conditions is None else parse_filter(conditions, "--filter")


def media_types_of(kinds: Iterable[str]) -> list[str]:
    """The media types that files of these kinds have.

    Raises:
        InputError: there is no such kind; names the existing ones.
    """
    kind_names = list(kinds)
    if not kind_names:
        return []
    from ingest.kinds.registry import named, names

    for kind_name in kind_names:
        if kind_name not in names():
            raise InputError("--kind", got=repr(kind_name), wanted=f"one of {', '.join(names())}")
    return sorted(
        {media_type for kind_name in kind_names for media_type in named(kind_name).media_types}
    )


def quotas_of(parts: Iterable[str]) -> dict[Modality, int]:
    """How many hits of each kind.

    >>> quotas_of(["image=5", "audio=2"])
    {'image': 5, 'audio': 2}

    Raises:
        InputError: not ``KIND=NUMBER``.
    """
    quotas = {}
    for quota in parts:
        modality, _, number = quota.partition("=")
        if not number.isdecimal():
            raise InputError("--quota", got=repr(quota), wanted="KIND=NUMBER, such as image=5")
        quotas[Modality(modality.strip())] = int(number)
    return quotas


def kinds_of(text: str) -> list[Modality]:
    """Modalities separated by commas.

    >>> kinds_of("image, audio")
    ['image', 'audio']
    """
    return [Modality(modality.strip()) for modality in text.split(",") if modality.strip()]


def request_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """All other options as `search.client.calls.SearchOptions`.

    Raises:
        InputError: an option cannot be understood.
    """
    return {
        "modalities": kinds_of(options["modality"]),
        "limit": options["limit"],
        "filter": conditions_of(
            options["conditions"], options["tags"], options["path"], options["kinds"]
        ),
        "quotas": quotas_of(options["quota"]),
        "score_threshold": options["threshold"],
        "group_by": "segment" if options["segments"] else "asset",
        "moments": options["moments"],
        "diversity": options["diversity"],
        "lexical": options["lexical"],
        "consistency": "strong" if options["strong"] else "session",
        "cursor": options["page"],
        "explain": options["explain"],
        "sort": options["sort"],
        "count": True,
        "stacks": options["stacks"],
        "understand": not options["literal"],
    }


def found(
    terms: Iterable[Mapping[str, Any]],
    request: Mapping[str, Any],
    resources: Resources,
    engine: Callable[[], SearchEngine],
) -> dict[str, Any]:
    """The result as JSON (`search.types.as_json`), and what was `searched` if it is empty.

    Raises:
        InputError: an option cannot be understood; said before the engine is opened.
        MediaError: a file cannot be read.
    """
    from search.query.query import Query
    from search.query.unmatched import unmatched
    from search.types import READINGS, as_json

    condition = filter_of(request["filter"])
    readings = READINGS if request["understand"] else ()
    opened_engine, store = engine(), resources.store()
    items = [read_term(term, store, resources.ingest_config) for term in terms]
    query = Query(items, **{**request, "filter": condition, "understand": readings})
    result = opened_engine.search(query)
    facts = as_json(result)
    facts["warnings"] += unmatched(condition, store, is_empty=not result.hits)
    return facts | ({} if result.hits else {"searched": searched(request, resources)})


def searched(request: Mapping[str, Any], resources: Resources) -> dict[str, Any]:
    """What a query without hits covered, so that a typo is noticed; loads no model.

    ``matching_assets`` is the most assets that the filter can match; None without a filter.
    """
    from search.store.milvus.link import without_password
    from search.store.open import store_target

    uri, store = resources.settings.store, resources.recorded_store()
    condition = filter_of(request["filter"])
    return {
        "store": without_password(str(uri if uri == "memory:" else store_target(uri))),
        "assets": store.count(),
        "matching_assets": None if condition is None else store.count(condition),
        "modalities": [str(modality) for modality in request["modalities"] or request["quotas"]],
        "score_threshold": request["score_threshold"],
    }

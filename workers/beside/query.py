"""The query on the command line: options to terms and filters, and the search itself."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoder.errors import InputError
from encoder.inputs import AudioFormat, read_argument
from encoder.types import DOCUMENT, QUERY, TEXT, Modality
from search import Query
from search import as_json as result_json
from search.filters import Filter, parse_filter
from search.query.query import Term
from search.store.milvus.link import without_password
from search.store.open import store_target
from search.types import READINGS
from workers.beside.weights import split_weight

if TYPE_CHECKING:
    from ingest.config import IngestConfig
    from search import SearchEngine
    from search.store.base import VectorStore
    from workers.serving.resources import Resources


# Enough to push unwanted hits out of sight, with little effect on others; see docs/search.md.
NOT_WEIGHT = 0.5


def terms_of(options: Mapping[str, Any], store: VectorStore, config: IngestConfig) -> list[Term]:
    """All terms, each of which can end in ``^`` and a weight; ``config`` says how files are read.

    Raises:
        InputError: a file is missing or of another kind.
        MediaError: a file cannot be read.
    """
    texts = [" ".join(options["words"])] if options["words"] else []  # words split by the shell
    terms = [_term("text", words) for words in [*texts, *options["text"]]]
    terms += [_term("text", words, -NOT_WEIGHT) for words in options["unwanted"]]
    for modality in ("image", "audio", "video"):
        terms += [_term(modality, name) for name in options[modality]]
    terms += [_file(name, config) for name in options["query_file"]]
    return terms + [_like(name, store, config) for name in options["like"]]


def _term(modality: str, words: str, default: float = 1.0) -> Term:
    content, weight = split_weight(words)
    signed = default if weight is None else weight if default > 0 else -weight
    item = read_argument(modality, content, AudioFormat()).items[0]
    return Term(item, weight=signed)


def _file(words: str, config: IngestConfig) -> Term:
    from ingest import identify, whole

    name, weight = split_weight(words)
    item = whole(identify(Path(name), config), config)
    # A file of text is not a question: it should find similar texts.
    role = DOCUMENT if item.modality == TEXT else QUERY
    return Term(item, weight=1.0 if weight is None else weight, role=role)


def _like(words: str, store: VectorStore, config: IngestConfig) -> Term:
    """A stored asset, by its id or by a file with its content; or a file as it would be stored."""
    from ingest import identify, whole

    name, weight = split_weight(words)
    weight = 1.0 if weight is None else weight
    path = Path(name).expanduser()
    if not path.is_file():
        return Term(asset_id=name, weight=weight)
    asset = identify(path, config)
    if store.assets([asset.asset_id]):
        return Term(asset_id=asset.asset_id, weight=weight)
    return Term(whole(asset, config), weight=weight, role=DOCUMENT)


def filter_of(
    conditions: Iterable[str], tags: Iterable[str], path: str | None, kinds: Iterable[str] = ()
) -> Filter | None:
    """All of these conditions together; None if there are none.

    >>> filter_of(["language=en"], [], None)
    Compare(field='language', operator=<Operator.EQ: 'eq'>, value='en')

    Raises:
        InputError: a condition cannot be understood.
    """
    parts = [*map(_condition, conditions), *({"field": "tags", "contains": tag} for tag in tags)]
    if path is not None:
        from ingest.sources.objects import whole_path

        parts.append({"field": "path", "prefix": whole_path(path)})
    if media_types := media_types_of(kinds):
        parts.append({"field": "media_type", "in": media_types})
    if not parts:
        return None
    return parse_filter(parts[0] if len(parts) == 1 else {"and": parts}, "--filter")


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


def _condition(text: str) -> Any:
    if text.lstrip().startswith("{"):
        try:
            return json.loads(text)
        except ValueError as error:
            raise InputError("--filter", got=f"{text!r}: {error}", wanted="JSON") from None
    field, equals, value = text.partition("=")
    if not equals:
        raise InputError("--filter", got=repr(text), wanted='FIELD=VALUE or JSON: {"field": …}')
    return {"field": field.strip(), "eq": _value(value.strip())}


def _value(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, int | float) else text


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


def found(options: Mapping[str, Any], engine: SearchEngine, resources: Resources) -> dict[str, Any]:
    """The result as JSON (`search.types.as_json`), and what was ``searched`` if it is empty.

    Raises:
        InputError: an option cannot be understood.
        MediaError: a file cannot be read.
    """
    facts = facts_of(options)
    store = resources.store()
    query = Query(terms_of(options, store, resources.ingest_config), **facts)
    result = engine.search(query)
    looked = {} if result.hits else {"searched": _searched(resources.settings.store, store, query)}
    return result_json(result) | looked


def facts_of(options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "modalities": kinds_of(options["modality"]),
        "limit": options["limit"],
        "filter": filter_of(
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
        "stacks": options["stacks"],
        "understand": () if options["literal"] else READINGS,
    }


def _searched(uri: str | None, store: VectorStore, query: Query) -> dict[str, Any]:
    """What a query without hits covered in the store at ``uri``, so that a typo is noticed.

    ``matching_assets`` is the most assets that the filter can match; None without a filter.
    """
    return {
        "store": without_password(str(uri if uri == "memory:" else store_target(uri))),
        "assets": store.count(),
        "matching_assets": None if query.filter is None else store.count(query.filter),
        "modalities": [str(modality) for modality in query.modalities or query.quotas],
        "score_threshold": query.score_threshold,
    }

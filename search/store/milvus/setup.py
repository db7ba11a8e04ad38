"""Create the collections of a space, or check that existing ones fit."""

from __future__ import annotations

from collections.abc import Collection as Ids
from collections.abc import Mapping, Sequence
from typing import Any

from search.errors import SpaceMismatchError, StoreError, StoreMissingError
from search.store.calibrated import Constants
from search.store.milvus.indexes import (
    HNSW,
    KINDS,
    METRIC,
    build_params,
    check_known,
    refused,
)
from search.store.milvus.link import MilvusLink
from search.store.schema import (
    LAST_WRITERS,
    OLD_VERSION,
    SCHEMA_VERSION,
    Collection,
    collection_name,
    properties,
    spaces_among,
    written_version,
)


def prepare_collections(
    link: MilvusLink,
    collections: Sequence[Collection],
    *,
    prefix: str,
    fingerprint: str,
    embed_dim: int,
    calibration: Constants,
    new_space: bool,
    create: bool,
    index: str = HNSW,
    unread: Sequence[Collection] = (),
) -> dict[str, str]:
    """Create missing collections, index and load them; return the collections' names by kind.

    Those that are ``unread`` are dropped: earlier versions made them.

    Raises:
        SpaceMismatchError: there are only collections of other spaces, without ``new_space``.
        StoreMissingError: there are none, without ``create``.
        StoreError: the collections were written by a different version.
    """
    if not link.is_lite:
        check_known(link, index)
    present = link.call("list_collections")
    spaces = spaces_among(present, prefix)
    if spaces and fingerprint not in spaces and not new_space:
        for name in present:  # an earlier version, whose model may be today's by another name
            if name.startswith(tuple(f"{prefix}_{space}_" for space in spaces)):
                _check_version(link, name)
        raise _mismatch(link.shown, spaces, fingerprint)
    if fingerprint not in spaces and not create:
        raise StoreMissingError.at(link.shown)
    for collection in unread:
        if (name := collection_name(prefix, fingerprint, collection.kind)) in present:
            link.call("drop_collection", name)
    names = {}
    for collection in collections:
        name = names[collection.kind] = collection_name(prefix, fingerprint, collection.kind)
        if name not in present:
            create_collection(
                link, name, collection, properties(fingerprint, embed_dim, calibration)
            )
        _check_version(link, name)
        _index(link, name, collection, index)
        # Even after reopening: Lite forgets it. In parallel: a server takes 3 seconds for each.
        link.call("load_collection", name, _async=True)
    for name in names.values():
        link.call("load_collection", name)
    return names


def _mismatch(store_name: str, spaces: Sequence[str], fingerprint: str) -> SpaceMismatchError:
    from encoder.models.bundle.model import describe

    return SpaceMismatchError(
        f"The store {store_name} holds embeddings in the space "
        f"{', '.join(map(describe, spaces))}, but this encoder's are in the space "
        f"{describe(fingerprint)}: they cannot be compared.",
        remedy="Use the model and settings that the store was made with (--model), ingest the "
        "content again into another --store, or move this one with `anymodal store reindex`.",
    )


def create_collection(
    link: MilvusLink, name: str, collection: Collection, facts: Mapping[str, str]
) -> None:
    """Create one with these properties, unless another has made it meanwhile."""
    if link.in_process:
        link.call("create_collection", name, collection, properties=facts)
        return
    from pymilvus import DataType, MilvusClient

    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    for field in collection.fields:
        params = dict(field.params)
        if "element_type" in params:
            params["element_type"] = DataType[params["element_type"]]
        is_key = field.name == collection.key
        schema.add_field(field.name, DataType[field.type], is_primary=is_key, **params)
    if collection.bm25_of:
        _add_bm25(link, schema, collection)
    try:
        # In properties, since Milvus Lite drops the description.
        link.call(
            "create_collection",
            name,
            schema=schema,
            properties=dict(facts),
            consistency_level="Strong",
        )
    except StoreError:
        # Two processes may open a new store at once; the other was first.
        if not link.call("has_collection", name):
            raise


def _add_bm25(link: MilvusLink, schema: Any, collection: Collection) -> None:
    from pymilvus import Function, FunctionType

    (words,) = (field for field in schema.fields if field.name == collection.bm25_of)
    # The words are made by us; both tokenizers keep them as they are, and Lite knows only one.
    tokenizer = "standard" if link.is_lite else "whitespace"
    words.params.update(enable_analyzer=True, analyzer_params={"tokenizer": tokenizer})
    schema.add_function(
        Function("bm25", FunctionType.BM25, [collection.bm25_of], [collection.vector])
    )


def _check_version(link: MilvusLink, name: str) -> None:
    version = written_version(link.call("describe_collection", name).get("properties", {}))
    if version in (str(SCHEMA_VERSION), str(OLD_VERSION)):
        return
    number = int(version) if version.isdecimal() else 0
    is_later, writer = number > SCHEMA_VERSION, LAST_WRITERS.get(number)
    raise StoreError(
        f"The store {link.shown} has schema {version} (collection {name}), which "
        f"{'a later' if is_later else 'an earlier'} version of anymodal wrote"
        f"{f', last commit {writer}' if writer else ''}; this one writes "
        f"schema {SCHEMA_VERSION}, and reads and upgrades schema {OLD_VERSION}.",
        remedy=f"Open it with that {'commit' if writer else 'version'}"
        + ("." if is_later else ", or ingest its files again into another --store."),
    )


def _index(link: MilvusLink, name: str, collection: Collection, index: str) -> None:
    """Add the indexes that are missing, as after a process was killed while making them."""
    fields = [collection.vector, *collection.indexed]
    if link.is_lite:
        fields = [collection.vector] if collection.bm25_of else []
        _drop_others(link, name, fields)
    if link.in_process:
        return
    from pymilvus import MilvusClient

    present = set(link.call("list_indexes", name))
    for field in fields:
        if field in present:
            continue
        params = MilvusClient.prepare_index_params()
        options = _index_of(field == collection.vector, collection.kind, index)
        params.add_index(field, index_name=field, **options)
        try:
            # Not waiting: pymilvus would sleep for half a second per index; loading waits anyway.
            link.call("create_index", name, params, sync=False)
        except StoreError as error:
            # Another process opened the new store first.
            if field in link.call("list_indexes", name):
                continue
            if options["index_type"] in KINDS:
                raise refused(link, index, error.problem.rstrip(".")) from error
            raise


def _drop_others(link: MilvusLink, name: str, fields: Ids[str]) -> None:
    """Drop the indexes that earlier versions made in Lite.

    The index of vectors copies them on disk and in memory, and finds them no faster; those of other
    fields are JSON that is read when a collection is opened. `search.store.embedded` answers.
    """
    while unused := set(link.call("list_indexes", name)).difference(fields):
        link.call("release_collection", name)
        link.call("drop_index", name, unused.pop())  # and it may drop all


def _index_of(is_vector: bool, collection_kind: str, index: str) -> dict[str, Any]:
    if not is_vector:
        # A server picks by type; its names changed (Trie until 2.3, INVERTED since 2.4).
        return {"index_type": ""}
    if collection_kind == "words":
        return {"index_type": "SPARSE_INVERTED_INDEX", "metric_type": "BM25", "params": {}}
    if not collection_kind.startswith("segments"):
        return {"index_type": "FLAT", "metric_type": METRIC, "params": {}}
    return {**build_params(index), "metric_type": METRIC}

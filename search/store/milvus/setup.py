"""Create the collections of a store, or check that existing ones fit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from encoder.types import TEXT
from search.errors import StoreError, StoreMissingError
from search.store.lanes import StoredSpace, StoreLanes
from search.store.milvus.indexes import (
    EXACT,
    KINDS,
    METRIC,
    MMAP,
    build_params,
    refused,
)
from search.store.milvus.link import MilvusLink
from search.store.schema import (
    ASSETS,
    EMBED_DIM,
    LOCATIONS,
    PROBES,
    SCHEMA,
    SCHEMA_PROPERTY,
    SCHEMA_VERSION,
    Collection,
    collection_name,
    properties,
    segments_collection,
    stored_collections,
    words_collection,
)
from search.store.space_record import SearchedSpace, SpaceRecord, check_searched


def prepare_store(
    link: MilvusLink,
    lanes: StoreLanes,
    record: SpaceRecord,
    searched: SearchedSpace,
    *,
    prefix: str,
    create: bool,
    index: str,
) -> tuple[StoreLanes, list[str]]:
    """Create missing collections, index and load them.

    Returns:
        The lanes as the store notes them, and those of their spaces that it did not have although
        it has assets: what these count there is no more, if it was ever.

    Raises:
        SpaceMismatchError: other lanes are searched, and these are not filled.
        StoreMissingError: there is no store, without ``create``.
        StoreError: the collections were written by a different version, or some are lost, and
            the lanes do not say how large their embeddings are.
        ModelError: a space has the probes of another model.
    """
    if index.endswith(MMAP) and not (link.is_lite or link.knows_mmap):
        raise refused(link, index, "indexes on disk need Milvus 2.4")  # it would not report it
    # Read before the record, which whoever makes a store writes first.
    present = stored_collections(link.call("list_collections"), prefix)
    noted = {name: link.call("describe_collection", name).get("properties", {}) for name in present}
    _check_versions(link, noted)
    last = collection_name(prefix, ASSETS)
    if last not in present and (lanes.filling or not create):
        raise StoreMissingError.at(link.shown)
    if not lanes.filling and not check_searched(record, searched, link.shown):
        if last in present:
            raise StoreError(
                f"The store {link.shown} has lost its record ({prefix}_current), which says which "
                "model it is searched with.",
                remedy="Restore it from a backup.",
            )
        record.write(searched)

    def as_noted(space: StoredSpace) -> StoredSpace:
        facts = noted.get(collection_name(prefix, segments_collection(space.fingerprint)))
        if last in present and not (facts or space.embed_dim):
            raise _lost(link, lanes, space.fingerprint)
        size_and_probes = facts and (int(facts[EMBED_DIM]), json.loads(facts[PROBES]))
        return space.as_noted(size_and_probes or None, link.shown)

    lanes = lanes.resolved(as_noted)
    required: list[tuple[Collection, Mapping[str, str]]] = []
    for space in lanes.spaces.values():
        of_space = [segments_collection(space.fingerprint, space.embed_dim)]
        if link.knows_bm25 and lanes.has(space.fingerprint, TEXT):
            of_space.append(words_collection(space.fingerprint))
        required += [(kind, properties(space)) for kind in of_space]
    required += [(LOCATIONS, SCHEMA_PROPERTY), (ASSETS, SCHEMA_PROPERTY)]
    for collection, facts in required:
        if (name := collection_name(prefix, collection)) not in present:
            create_collection(link, name, collection, facts)
    make_ready(link, {collection_name(prefix, kind): kind for kind, _ in required}, index)
    begun = [
        space
        for space in lanes.spaces
        if last in present and collection_name(prefix, segments_collection(space)) not in present
    ]
    return lanes, begun


def _lost(link: MilvusLink, lanes: StoreLanes, space: str) -> StoreError:
    names = [str(m) for m, lane in lanes.others.items() if lane.fingerprint == space]
    return StoreError(
        f"The store {link.shown} has lost its lane of {' and '.join(names) or 'texts'} (the space "
        f"{space}); tags and locations are there.",
        remedy="Run `anymodal ingest` on its folders, which reads again what was in it.",
    )


def _check_versions(link: MilvusLink, noted: Mapping[str, Mapping[str, str]]) -> None:
    for name, facts in noted.items():
        if (version := facts.get(SCHEMA, "unknown")) != SCHEMA_PROPERTY[SCHEMA]:
            raise StoreError(
                f"The store {link.shown} has schema {version} (collection {name}), which another "
                f"version of anymodal wrote; this one reads and writes schema {SCHEMA_VERSION}.",
                remedy="Export it with that version (`anymodal store export FOLDER`), and import "
                "it here into another --store (`anymodal store import FOLDER`).",
            )


def make_ready(link: MilvusLink, collections: Mapping[str, Collection], index: str) -> None:
    """Index and load collections, by their names."""
    for name, collection in collections.items():
        _index(link, name, collection, index)
        # Even after reopening: Lite forgets it. In parallel: a server takes 3 seconds for each.
        link.call("load_collection", name, _async=True)
    for name in collections:
        link.call("load_collection", name)


def create_collection(
    link: MilvusLink, name: str, collection: Collection, facts: Mapping[str, str]
) -> None:
    """Create one with these properties, unless another has made it meanwhile."""
    from pymilvus import DataType, Function, FunctionType, MilvusClient

    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    for field in collection.fields:
        params = dict(field.params)
        if "element_type" in params:
            params["element_type"] = DataType[params["element_type"]]
        is_key = field.name == collection.key
        schema.add_field(field.name, DataType[field.type], is_primary=is_key, **params)
    if collection.bm25_of:
        (words,) = (field for field in schema.fields if field.name == collection.bm25_of)
        # The words are made by us; both tokenizers keep them as they are, and Lite knows only one.
        tokenizer = "standard" if link.is_lite else "whitespace"
        words.params.update(enable_analyzer=True, analyzer_params={"tokenizer": tokenizer})
        bm25 = Function("bm25", FunctionType.BM25, [collection.bm25_of], [collection.vector])
        schema.add_function(bm25)
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


def _index(link: MilvusLink, name: str, collection: Collection, index: str) -> None:
    """Add the indexes that are missing, as after a process was killed while making them."""
    # Lite keeps an index of other fields as JSON, and reads it when it opens a collection.
    fields = [collection.vector, *([] if link.is_lite else collection.indexed)]
    from pymilvus import MilvusClient

    present = set(link.call("list_indexes", name))
    for field in fields:
        if field in present:
            continue
        params = MilvusClient.prepare_index_params()
        # Of the indexes of vectors, Lite has the exact one only.
        kind = EXACT if link.is_lite else index
        options = _index_of(field == collection.vector, collection.kind, kind)
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


def _index_of(is_vector: bool, collection_kind: str, index: str) -> dict[str, Any]:
    if not is_vector:
        # A server picks by type; its names changed (Trie until 2.3, INVERTED since 2.4).
        return {"index_type": ""}
    if collection_kind == "words":
        return {"index_type": "SPARSE_INVERTED_INDEX", "metric_type": "BM25", "params": {}}
    if collection_kind != "segments" or index == EXACT:
        return {"index_type": EXACT, "metric_type": METRIC, "params": {}}
    return {**build_params(index), "metric_type": METRIC}

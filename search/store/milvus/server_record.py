"""Which of the spaces on a Milvus server is searched: see `search.store.space_record`."""

from __future__ import annotations

from contextlib import suppress

from search.errors import StoreError
from search.store.milvus.link import MilvusLink
from search.store.schema import ASSETS, collection_name, spaces_among, written_space
from search.store.space_record import SearchedSpace

_PROPERTY = "anymodal.current"


class ServerRecord:
    """The record on a Milvus server."""

    def __init__(self, link: MilvusLink, prefix: str) -> None:
        self._link, self._prefix = link, prefix
        self._alias = f"{prefix}_current"

    def read(self) -> SearchedSpace | None:
        """See `SpaceRecord.read`."""
        if not self._link.call("has_collection", self._alias):
            return None
        facts = self._link.call("describe_collection", self._alias)["properties"]
        if _PROPERTY in facts:
            return SearchedSpace.read(facts[_PROPERTY])
        # Milvus 2.3 forgets changed properties when it is restarted, but neither aliases nor what
        # a collection was made with: its model is known by its space then, or named by the user.
        return SearchedSpace(written_space(facts))

    def spaces(self) -> list[str]:
        """See `SpaceRecord.spaces`."""
        spaces = spaces_among(self._link.call("list_collections"), self._prefix)
        if len(spaces) < 2:
            return spaces
        names = {space: collection_name(self._prefix, space, ASSETS.kind) for space in spaces}
        created = {
            space: self._link.call("describe_collection", name).get("created_timestamp", 0)
            for space, name in names.items()
            if self._link.call("has_collection", name)
        }
        return sorted(created, key=lambda space: created[space])

    def write(self, current: SearchedSpace) -> None:
        """See `SpaceRecord.write`."""
        name = collection_name(self._prefix, current.space, ASSETS.kind)
        facts = {_PROPERTY: current.written()}
        self._link.call("alter_collection_properties", name, properties=facts)
        if not self._link.call("has_collection", self._alias):
            with suppress(StoreError):  # somebody was first, or dropped the collection by hand
                self._link.call("create_alias", name, self._alias)
                return
        self._link.call("alter_alias", name, self._alias)

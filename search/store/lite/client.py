"""Milvus Lite, called in this process by the names that `pymilvus.MilvusClient` has for its calls.

Its own server and pymilvus would take half the time of each write and of a command's start.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np

from encoder.errors import AnymodalError
from encoder.system.disk import disk_error, disk_error_in
from search.errors import StoreError
from search.store.schema import Collection

if TYPE_CHECKING:
    import milvus_lite

_ROWS_IN_LOG = 4096
"""Rows of a collection that only its log holds; Lite keeps them in memory, and reads the log again
after a kill. Each flush makes a file, and files are merged later: few large ones cost half."""
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


class LiteClient:
    """Safe to use from threads, one call at a time: Lite loses rows of concurrent writers.

    Args:
        database: open.
        failed: is told the disk's refusals, after which nothing more may be written.
        store_name: the name of the store in messages.
    """

    def __init__(
        self,
        database: milvus_lite.MilvusLite,
        failed: Callable[[BaseException], object],
        store_name: str,
    ) -> None:
        from milvus_lite import __version__

        self.version = f"milvus_lite-{__version__}"
        self._database = database
        self._failed = failed
        self._shown = store_name
        self._lock = RLock()
        self._n_in_log = Counter[str]()

    def call(self, method: str, *args: Any, **options: Any) -> Any:
        """Call one of the methods below.

        Raises:
            StoreError, DiskError: it failed.
        """
        with self._lock:
            try:
                return getattr(self, method)(*args, **options)
            except AnymodalError:
                raise
            except Exception as error:
                name = f"The store {self._shown}"
                refused = disk_error(error, name) or disk_error_in(str(error), name)
                if refused:
                    self._failed(refused)
                    raise refused from error
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
                raise StoreError(f"{name} failed at {method}: {reason.rstrip('.')}.") from error

    def last_write(self, name: str) -> int | None:
        """The number of a collection's last write, which its manifest has after the next flush.

        None for one that was not used: opening it would read all its rows.
        """
        collection = self._database._collections.get(("default", name))
        return None if collection is None else int(collection._next_seq) - 1

    def list_collections(self) -> list[str]:
        return list(self._database.list_collections())

    def has_collection(self, name: str) -> bool:
        return bool(self._database.has_collection(name))

    def describe_collection(self, name: str) -> dict[str, Any]:
        schema = self._database.get_collection(name).schema
        fields = [{"name": field.name} for field in schema.fields]
        return {"collection_name": name, "fields": fields, "properties": dict(schema.properties)}

    def create_collection(
        self, name: str, collection: Collection, properties: Mapping[str, str]
    ) -> None:
        from milvus_lite import CollectionSchema, DataType, FieldSchema

        fields = []
        for field in collection.fields:
            params = dict(field.params)
            max_length = params.pop("max_length", None)
            if "element_type" in params:
                params["element_type"] = DataType[params["element_type"]]
            elif max_length:
                params["max_length"] = max_length
            is_key = field.name == collection.key
            fields.append(FieldSchema(field.name, DataType[field.type], is_key, **params))
        self._database.create_collection(
            name, CollectionSchema(fields), properties=dict(properties)
        )

    def alter_collection_properties(self, name: str, properties: Mapping[str, str]) -> None:
        self._database.alter_collection_properties(name, properties=dict(properties))

    def drop_collection(self, name: str) -> None:
        self._database.drop_collection(name)

    def load_collection(self, name: str, **_: Any) -> None:
        self._database.get_collection(name).load()

    def release_collection(self, name: str) -> None:
        self._database.get_collection(name).release()

    def list_indexes(self, name: str) -> list[str]:
        return list(self._database.get_collection(name).list_indexes())

    def drop_index(self, name: str, field: str) -> None:
        self._database.get_collection(name).drop_index(field)

    def list_partitions(self, name: str) -> list[str]:
        return list(self._database.get_collection(name).list_partitions())

    def create_partition(self, name: str, partition: str) -> None:
        self._database.get_collection(name).create_partition(partition)

    def insert(
        self, name: str, rows: Sequence[dict[str, Any]], partition_name: str = "_default"
    ) -> dict[str, int]:
        """Rows are in the log, which a kill does not harm, when this returns."""
        listed = [{field: _plain(value) for field, value in row.items()} for row in rows]
        keys = self._database.get_collection(name).insert(listed, partition_name=partition_name)
        self._logged(name, len(keys))
        return {"insert_count": len(keys)}

    def delete(self, name: str, filter: str, partition_name: str | None = None) -> None:
        collection = self._database.get_collection(name)
        keys = _keys_in(filter, collection.pk_field)
        if keys is None:
            rows = collection.query(filter, output_fields=[collection.pk_field])
            keys = [row[collection.pk_field] for row in rows]
        collection.delete(keys, partition_name=partition_name)
        self._logged(name, len(keys))

    def _logged(self, name: str, n_rows: int) -> None:
        self._n_in_log[name] += n_rows
        if self._n_in_log[name] >= _ROWS_IN_LOG:
            self.flush(name)

    def flush(self, name: str) -> None:
        self._database.get_collection(name).flush()
        self._n_in_log[name] = 0

    def query(
        self,
        name: str,
        filter: str,
        output_fields: Sequence[str],
        partition_names: Sequence[str] | None = None,
        limit: int | None = None,
        iterator: str = "",
        **_: Any,
    ) -> list[dict[str, Any]]:
        """Rows; in the order of their keys for an ``iterator``."""
        collection = self._database.get_collection(name)
        if list(output_fields) == ["count(*)"]:
            if not filter:
                return [{"count(*)": collection.num_entities}]
            output_fields = [collection.pk_field]
            rows = collection.query(filter, list(output_fields), partition_names)
            return [{"count(*)": len(rows)}]
        keys = None if iterator else _keys_in(filter, collection.pk_field)
        if keys is not None:
            return list(collection.get(keys, partition_names, output_fields=list(output_fields)))
        rows = collection.query(
            filter or None,
            list(output_fields),
            partition_names,
            limit,
            order_by_pk=bool(iterator),
        )
        return list(rows)


def without_pandas() -> None:
    """Hide pandas from pyarrow, unless it is loaded, while that converts its first list.

    To recognize data frames it would load it, in half a CPU-second. Whoever converts a table to
    pandas later still gets it.
    """
    import pyarrow

    if "pandas" not in sys.modules:
        sys.meta_path.insert(0, _NoPandas)
        try:
            pyarrow.array([0])
        finally:
            sys.meta_path.remove(_NoPandas)


class _NoPandas:
    @staticmethod
    def find_spec(name: str, *_: object) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name)


def _plain(value: object) -> object:
    return value.tolist() if isinstance(value, np.ndarray) else value


def _keys_in(expression: str, key: str) -> list[str] | None:
    """The keys that `search.filters.milvus.among` asks for; None for any other expression.

    >>> _keys_in('asset_id in ["a", "b"]', "asset_id")
    ['a', 'b']
    >>> _keys_in('asset_id in ["a"] and index > 0', "asset_id")
    """
    start = f"{key} in ["
    if not expression.startswith(start) or not expression.endswith("]"):
        return None
    inside = expression[len(start) : -1]
    if '"' in _QUOTED.sub("", inside) or _QUOTED.sub("", inside).strip(", "):
        return None
    keys = _QUOTED.findall(inside)
    return None if any("\\" in found for found in keys) else keys

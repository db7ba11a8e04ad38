"""Sort the best hits by a field. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from encoder.errors import InputError
from search.filters.tree import FIELDS, FieldKind
from search.types import Hit

_KINDS = (FieldKind.TEXT, FieldKind.NUMBER, FieldKind.TIME)
_OF_FILE = ("modality", "size_bytes")
SORTABLE = sorted(name for name, kind in FIELDS.items() if kind in _KINDS and name not in _OF_FILE)


def check_sort(sort: str) -> None:
    """Check the name of a field, with or without "-" in front."""
    if sort and sort.removeprefix("-") not in SORTABLE:
        wanted = f"one of {', '.join(SORTABLE)}, with a leading - for the greatest first"
        raise InputError("query.sort", got=repr(sort), wanted=wanted)


def sort_hits(hits: Sequence[Hit], sort: str) -> list[Hit]:
    """The hits by a field of their assets, in ascending order; with "-", descending.

    Those without the field come last; ties stay as they are. Case is ignored.
    """
    field = sort.removeprefix("-")
    values = {hit.segment_id: _value(hit, field) for hit in hits}
    dated = [hit for hit in hits if values[hit.segment_id] is not None]
    undated = [hit for hit in hits if values[hit.segment_id] is None]
    dated.sort(key=lambda hit: values[hit.segment_id] or (False, 0, ""), reverse=sort[:1] == "-")
    return dated + undated


def _value(hit: Hit, field: str) -> tuple[bool, float, str] | None:
    value = hit.media_type if field == "media_type" else hit.metadata.get(field)
    if isinstance(value, str):
        return (True, 0, value.casefold())
    return None if not isinstance(value, int | float) else (False, float(value), "")

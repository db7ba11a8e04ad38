"""Answers of ``/v1/facets``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field

from search.store.overview import FACETS, Facets

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

"""What ``PATCH /v1/assets/{asset_id}`` may change."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from search.api.schemas import Strict

Tag = Annotated[str, Field(min_length=1, max_length=1000)]


class AssetChange(Strict):
    """Tags to add to an asset, and those to take off."""

    add_tags: list[Tag] = Field([], max_length=100)
    remove_tags: list[Tag] = Field([], max_length=100)

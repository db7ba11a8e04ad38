"""What a search without hits looked through, so that nobody takes a typo for an empty answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from search.store.base import VectorStore
from search.types import Query


@dataclass(frozen=True)
class Searched:
    """Where a search looked.

    Args:
        store: the folder, or the server's URI without its password.
        assets: how many are stored there.
        matching: how many of them the filter lets through, at most; None without a filter.
        modalities: the kinds of segment; empty for all.
        score_threshold: the lowest score that was asked for, if any.
    """

    store: str
    assets: int
    matching: int | None
    modalities: list[str]
    score_threshold: float | None

    def text(self) -> str:
        """For people, to follow "Nothing found".

        >>> Searched("/s", 40, 2, ["image"], 3.0).text()
        'among 40 assets in /s: 2 meet the filter, only image was looked for, no score reached 3'
        """
        parts = [f"{self.matching} meet the filter"] if self.matching is not None else []
        if self.modalities:
            parts += [f"only {', '.join(self.modalities)} was looked for"]
        if self.score_threshold is not None:
            parts += [f"no score reached {self.score_threshold:g}"]
        return f"among {self.assets} assets in {self.store}{': ' if parts else ''}" + ", ".join(
            parts
        )

    def as_json(self) -> dict[str, Any]:
        """The facts, for programs."""
        return {
            "store": self.store,
            "assets": self.assets,
            "matching_assets": self.matching,
            "modalities": self.modalities,
            "score_threshold": self.score_threshold,
        }


def searched(store: VectorStore, query: Query) -> Searched:
    """What this query looked through in the store of the settings."""
    from search.store.milvus_link import without_password
    from search.store.open import store_target
    from workers.config import Settings

    uri = Settings().store
    where = without_password(str(uri if uri == "memory:" else store_target(uri)))
    return Searched(
        where,
        store.count(),
        None if query.filter is None else store.count(query.filter),
        [str(kind) for kind in query.modalities or query.quotas],
        query.score_threshold,
    )

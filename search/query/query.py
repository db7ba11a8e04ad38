"""What is searched for, and how."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from encoder.types import QUERY, Item, Modality, Role
from search.filters import Filter
from search.types import Reading


@dataclass(frozen=True)
class Term:
    """One thing to search with: an item, or a stored asset ("more like this").

    Args:
        item: content to encode.
        asset_id: a stored asset, instead of ``item``; it is left out of the hits.
        weight: how much it pulls; a negative one pushes away. Not 0, -10 to 10.
        role: the role to encode the item in, whatever its own: "document" for content that is
            to find similar content.
    """

    item: Item | None = None
    asset_id: str = ""
    weight: float = 1.0
    role: Role = QUERY


@dataclass(frozen=True)
class Query:
    """A search by one or more items, which are fused into one query embedding.

    Args:
        items: what to search with: items, or terms with weights; at least one that pulls.
        modalities: the kinds of segment wanted; empty for all.
        limit: the most hits to return, 1 to 1,000.
        filter: conditions that an asset has to meet.
        quotas: the number of hits of each kind of segment, as far as there are any, instead of
            one mixed list of ``limit`` hits.
        score_threshold: the lowest calibrated score of a hit.
        group_by: ``asset``: one hit for each asset, at its best segment; ``segment``: each segment
            is a hit.
        moments: how many further segments of its asset a hit lists, best first, 0 to 20.
        diversity: 0 for the best hits, up to 1 for hits that are least alike.
        lexical: also match words of texts (BM25), and of the names of assets; None: if the query
            has a text and the store can.
        consistency: ``session``: what this process wrote is seen; ``strong``: what anyone wrote.
        cursor: the ``next_cursor`` of the page before.
        explain: say how each score came about.
        understand: what to read from the texts; hits that show it score higher. If there is
            nothing else in the question, all that show it are listed. See `Understood`.
        sort: order all strong hits of the list, then show the weak ones by score: by ``date``,
            ``name`` or a field of filters such as ``taken``; ``-taken`` for the latest first;
            empty: by score. Where a list has no end, since nothing judges its hits and it has no
            threshold, the hits of each page are sorted. It leaves ``diversity`` nothing to choose.
        count: count the strong hits of the whole list, though they are not all on this page.
        rerank: order the page's texts again, by the engine's reranker; not together with ``sort``.
        folder_names: whether names of folders are words of their assets, as those of files are.
        only: what hits have to show, of what was read from the texts and anything shows.
        stacks: show nearly identical photos as one hit; segments never are.
        within: all that whoever asks may see; the rest of the library might as well not be there.
    """

    items: Sequence[Item | Term]
    modalities: Sequence[Modality] = ()
    limit: int = 10
    filter: Filter | None = None
    quotas: Mapping[Modality, int] = field(default_factory=dict)
    score_threshold: float | None = None
    group_by: Literal["asset", "segment"] = "asset"
    moments: int = 3
    diversity: float = 0.0
    lexical: bool | None = None
    consistency: Literal["session", "strong"] = "session"
    cursor: str = ""
    explain: bool = False
    understand: Collection[Reading] = ()
    folder_names: bool = True
    sort: str = ""
    rerank: bool = False
    only: Collection[Reading] = ()
    stacks: bool = True
    count: bool = False
    within: Filter | None = None

    @cached_property
    def terms(self) -> list[Term]:
        """The items as terms."""
        return [item if isinstance(item, Term) else Term(item) for item in self.items]

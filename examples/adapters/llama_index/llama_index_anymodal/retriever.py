"""Finds in a whole library: texts, pictures, sounds and films."""

from __future__ import annotations

from typing import Any

from anymodal_client import Anymodal, HitOut
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

_FACTS = {
    "asset_id",
    "name",
    "media_type",
    "modality",
    "probability",
    "weak",
    "start_s",
    "end_s",
    "place",
    "tags",
    "content_url",
    "thumbnail_url",
}


class AnymodalRetriever(BaseRetriever):
    """Nodes for the parts that match a text or a picture (`QueryBundle.image_path`), or both.

    A node's text is the passage, what is read in a picture or said at that moment, or else the
    title of the file. Its metadata name the file and the place.

    Args:
        client: of the server.
        similarity_top_k: the most nodes.
        options: further fields of the search; see `Anymodal.search`.

    >>> AnymodalRetriever(Anymodal(), options={"modalities": ["text", "video"]})
    """

    def __init__(
        self,
        client: Anymodal,
        similarity_top_k: int = 4,
        options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._client = client
        self._options: Any = {
            "group_by": "segment",
            "limit": similarity_top_k,
            **(options or {}),
        }

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        image = query_bundle.image_path or ()
        answer = self._client.search(query_bundle.query_str, image=image, **self._options)
        return [NodeWithScore(node=self._node(hit), score=hit.score) for hit in answer.hits]

    def _node(self, hit: HitOut) -> TextNode:
        facts = {**hit.metadata, **hit.model_dump(include=_FACTS, exclude_none=True)}
        text = self._client.passage(hit) or hit.title
        return TextNode(id_=hit.segment_id, text=text, metadata=facts)

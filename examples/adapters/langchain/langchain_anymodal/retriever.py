"""Finds in a whole library: texts, pictures, sounds and films."""

from __future__ import annotations

from typing import Any

from anymodal_client import Anymodal, HitOut
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import Field

_FACTS = {
    "asset_id",
    "name",
    "media_type",
    "modality",
    "score",
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
    """Documents for the parts that match a text: a passage, a page, a moment of a film, a picture.

    A document's text is the passage, what is read in a picture or said at that moment, or else the
    title of the file. Its metadata name the file, the place and the score.

    >>> AnymodalRetriever(client=Anymodal(), k=4, options={"modalities": ["text", "video"]})
    """

    client: Anymodal
    k: int = 4
    """The most documents; `invoke(query, k=…)` asks for a different number."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Further fields of the search, such as `filter`; see `Anymodal.search`."""

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **asked: Any
    ) -> list[Document]:
        options: Any = {"group_by": "segment", "limit": self.k, **self.options}
        if "k" in asked:
            options["limit"] = asked["k"]
        return [self._document(hit) for hit in self.client.search(query, **options).hits]

    def _document(self, hit: HitOut) -> Document:
        facts = {**hit.metadata, **hit.model_dump(include=_FACTS, exclude_none=True)}
        text = self.client.passage(hit) or hit.title
        return Document(page_content=text, metadata=facts, id=hit.segment_id)

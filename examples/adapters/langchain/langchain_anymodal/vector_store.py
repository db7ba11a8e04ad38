"""Keeps documents on a server of anymodal, which embeds them."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from anymodal_client import Anymodal, AssetOut, HitOut
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

_OURS = "metadata.document"
_MOST_VALUES = 1000
_TREE = {"and", "field", "not", "or"}


class AnymodalVectorStore(VectorStore):
    """LangChain documents as assets, each a text file.

    The server identifies a file by its content, so it keeps a text only once: adding one that it
    holds under a different id is refused.

    Args:
        client: of the server. Its key needs the scopes `read` and `write`.
        collection: separates the documents of this store from those of others and from the
            server's files.

    >>> store = AnymodalVectorStore(Anymodal(), collection="notes")
    >>> store.similarity_search("how long do eggs boil?", k=2, filter={"author": "Ada"})
    """

    def __init__(self, client: Anymodal, collection: str = "default") -> None:
        self._client = client
        self._collection = collection

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Store texts, replacing those with the same ids; returns the ids.

        Raises:
            ValueError: a text occurs twice, is stored under a different id, or cannot be read.
        """
        texts = list(texts)
        if twice := len(texts) - len(set(texts)):
            raise ValueError(f"{twice} of {len(texts)} texts come twice. Give each once.")
        ids = [given or uuid.uuid4().hex for given in ids or [None] * len(texts)]
        self.delete(ids)
        jobs = [
            self._client.upload_bytes(f"{uuid.uuid4().hex}.txt", text.encode(), metadata=labels)
            for text, labels in zip(texts, self._labels(ids, metadatas), strict=True)
        ]
        for name, job in zip(ids, jobs, strict=True):
            ended = self._client.wait(job.id)
            if ended.ingested != 1:
                reasons = [failure.reason for failure in ended.failures]
                told = reasons or ["The server holds this text already, under another id."]
                raise ValueError(f"Document {name!r} was not stored: {' '.join(told)}")
        return ids

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """Remove documents, or with None the whole collection. Missing ids are not an error."""
        for asset in list(self._stored(ids)):
            self._client.delete(asset.asset_id)
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Those of the documents that exist, in no particular order."""
        return [self._document(asset) for asset in self._stored(ids)]

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """The nearest documents; see `similarity_search_with_score`."""
        return [found for found, _ in self.similarity_search_with_score(query, k, **kwargs)]

    def similarity_search_with_score(
        self,
        query: str = "",
        k: int = 4,
        *,
        filter: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> list[tuple[Document, float]]:
        """The nearest documents with their scores, best first; a score has no upper bound.

        Args:
            query: a text. `image=` or `audio=` can be given instead, a path or bytes.
            k: the most documents.
            filter: values of metadata, or a tree of conditions as the server takes it.
            **options: fields of the search; see `Anymodal.search`.
        """
        wanted = {"and": [self._mine(), *_conditions(filter or {})]}
        hits = self._client.search(query, limit=k, filter=wanted, **options).hits
        return [(self._document(hit), hit.score) for hit in hits]

    def max_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """Documents that differ; the server, not `fetch_k`, decides how many it considers."""
        return self.similarity_search(query, k, diversity=1 - lambda_mult, **kwargs)

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        client: Anymodal | None = None,
        collection: str = "default",
        **kwargs: Any,
    ) -> AnymodalVectorStore:
        """A store with these texts.

        Raises:
            ValueError: an embedding is given; the server has its own.
        """
        if embedding is not None:
            raise ValueError("The server embeds documents itself: give embedding=None.")
        store = cls(client or Anymodal(), collection)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    def _labels(
        self, ids: Sequence[str], metadatas: Sequence[Mapping[str, Any]] | None
    ) -> Iterator[dict[str, Any]]:
        for name, own in zip(ids, metadatas or [{}] * len(ids), strict=True):
            yield {"document": {"collection": self._collection, "id": name, "metadata": dict(own)}}

    def _stored(self, ids: Sequence[str] | None) -> Iterator[AssetOut]:
        if ids is None:
            yield from self._client.assets(self._mine())
            return
        for start in range(0, len(ids), _MOST_VALUES):
            some = {"field": f"{_OURS}.id", "in": list(ids[start : start + _MOST_VALUES])}
            yield from self._client.assets({"and": [self._mine(), some]})

    def _mine(self) -> dict[str, Any]:
        return {"field": f"{_OURS}.collection", "eq": self._collection}

    def _document(self, found: AssetOut | HitOut) -> Document:
        text = self._client.content(found.asset_id).decode()
        kept = found.metadata["document"]
        return Document(page_content=text, metadata=kept["metadata"], id=kept["id"])


def _conditions(given: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """A tree unchanged, or one condition for each value of metadata."""
    if _TREE & given.keys():
        return [given]
    return [{"field": f"{_OURS}.metadata.{key}", "eq": value} for key, value in given.items()]

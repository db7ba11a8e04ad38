"""LangChain's standard tests, and what they leave out, over a server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from anymodal_client import Anymodal
from langchain_anymodal import AnymodalRetriever, AnymodalVectorStore
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_tests.integration_tests import (
    RetrieversIntegrationTests,
    VectorStoreIntegrationTests,
)


class TestRetriever(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _over(self, server: Anymodal) -> None:
        self._server = server

    @property
    def retriever_constructor(self) -> type[AnymodalRetriever]:
        return AnymodalRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"client": self._server}

    @property
    def retriever_query_example(self) -> str:
        return "baking bread"


class TestVectorStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, server: Anymodal) -> Iterator[AnymodalVectorStore]:
        store = AnymodalVectorStore(server, "standard")
        yield store
        store.delete()


def test_a_retriever_finds_passages_and_pictures(server: Anymodal) -> None:
    (bread,) = AnymodalRetriever(client=server, k=1).invoke("baking bread")
    assert bread.page_content == "Knead the dough, then bake the loaf in a hot oven."
    assert bread.metadata["name"] == "bread.txt"
    (sky,) = AnymodalRetriever(client=server, options={"modalities": ["image"]}).invoke("the sky")
    assert (sky.page_content, sky.metadata["media_type"]) == ("sky", "image/jpeg")


@pytest.fixture
def notes(server: Anymodal) -> Iterator[AnymodalVectorStore]:
    texts = ["Eggs boil for seven minutes.", "The ferry leaves at nine."]
    authors = [{"author": "Ada"}, {"author": "Bo"}]
    store = AnymodalVectorStore.from_texts(
        texts, metadatas=authors, ids=["eggs", "ferry"], client=server, collection="notes"
    )
    yield store
    store.delete()


def test_metadata_narrow_and_collections_are_apart(
    notes: AnymodalVectorStore, server: Anymodal
) -> None:
    asked = "how long do eggs take?"
    assert [one.id for one in notes.similarity_search(asked, filter={"author": "Bo"})] == ["ferry"]
    tree = {"field": "metadata.document.metadata.author", "eq": "Ada"}
    ((found, score),) = notes.similarity_search_with_score(asked, filter=tree)
    assert (found.id, score > 0) == ("eggs", True)
    assert AnymodalVectorStore(server, "other").similarity_search(asked) == []
    assert {one.id for one in notes.max_marginal_relevance_search(asked, 2)} == {"eggs", "ferry"}


def test_what_cannot_be_kept_is_refused(notes: AnymodalVectorStore) -> None:
    with pytest.raises(ValueError, match="another id"):
        notes.add_documents([Document("The ferry leaves at nine.")], ids=["boat"])
    with pytest.raises(ValueError, match="come twice"):
        notes.add_texts(["A kettle.", "A kettle."])
    with pytest.raises(ValueError, match="embedding=None"):
        AnymodalVectorStore.from_texts(["a"], DeterministicFakeEmbedding(size=2))

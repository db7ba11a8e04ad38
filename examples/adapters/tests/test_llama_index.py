"""The retriever of LlamaIndex over a server; its core has no standard tests for retrievers."""

from __future__ import annotations

from pathlib import Path

from anymodal_client import Anymodal
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import QueryBundle
from llama_index_anymodal import AnymodalRetriever


def test_a_query_engine_reads_the_passage(server: Anymodal) -> None:
    retriever = AnymodalRetriever(server, similarity_top_k=2)
    engine = RetrieverQueryEngine.from_args(retriever, llm=MockLLM())

    answer = engine.query("baking bread")

    assert len(answer.source_nodes) == 2
    (first, _) = answer.source_nodes
    assert first.node.metadata["name"] == "bread.txt"
    assert first.text == "Knead the dough, then bake the loaf in a hot oven."
    assert "Knead the dough" in str(answer)


def test_a_picture_finds_a_picture(server: Anymodal, folder: Path) -> None:
    retriever = AnymodalRetriever(server, options={"modalities": ["image"]})

    (found,) = retriever.retrieve(QueryBundle("", image_path=str(folder / "sky.jpg")))

    assert found.text == "sky"
    assert found.score

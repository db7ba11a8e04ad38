"""LlamaIndex over a server of anymodal: `AnymodalRetriever`."""

from llama_index_anymodal.retriever import AnymodalRetriever

__all__ = ["AnymodalRetriever"]

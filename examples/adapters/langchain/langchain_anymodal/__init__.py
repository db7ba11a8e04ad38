"""LangChain over a server of anymodal: `AnymodalRetriever`, `AnymodalVectorStore`."""

from langchain_anymodal.retriever import AnymodalRetriever
from langchain_anymodal.vector_store import AnymodalVectorStore

__all__ = ["AnymodalRetriever", "AnymodalVectorStore"]

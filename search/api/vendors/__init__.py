"""Embeddings, models and reranking in the shapes of OpenAI's, Cohere's and Jina's clients."""

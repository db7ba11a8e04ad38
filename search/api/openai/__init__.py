"""The endpoints of OpenAI's clients: embeddings and the list of models."""

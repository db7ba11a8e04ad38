"""What OpenAI's clients ask for: embeddings and the list of models."""

"""Pictures to embeddings: class names, and a head for what pictures show."""

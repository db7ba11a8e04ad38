"""The indexes of vectors that a Milvus server may have."""

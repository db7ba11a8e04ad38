"""What writes and removes rows on Milvus."""

"""Writing and removing rows on Milvus."""

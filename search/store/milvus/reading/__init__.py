"""Searching and sampling segments on Milvus."""

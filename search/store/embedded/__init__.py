"""Folders: Milvus Lite keeps the record, and an index next to it answers; see `embedded.store`."""

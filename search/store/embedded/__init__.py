"""Folders: Milvus Lite keeps the record, and an index beside it answers; see `embedded.store`."""

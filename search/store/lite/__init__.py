"""Milvus Lite: in this process, read-only, or shared by processes of this machine."""

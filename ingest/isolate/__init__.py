"""Decode in child processes, so that a crash, a hang or a memory bomb costs one file."""

from ingest.isolate.pool import close, confinement, picture, read_header, segments, sniff

__all__ = ["close", "confinement", "picture", "read_header", "segments", "sniff"]

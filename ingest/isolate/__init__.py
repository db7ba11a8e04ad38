"""Decode in child processes, so that a crash, a hang or a memory bomb costs one file."""

from ingest.isolate.pool import MODALITIES, close, frame, read_header, segments

__all__ = ["MODALITIES", "close", "frame", "read_header", "segments"]

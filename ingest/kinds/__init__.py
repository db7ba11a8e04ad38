"""Kinds of files: each is one module that detects, reads and shows its files.

A kind is a `Kind` in a module of its own and a line in `ingest.kinds.registry`, or an entry point
``anymodal.kinds`` of another package.
"""

from ingest.kinds.contract import Cost, Kind, Place
from ingest.kinds.head import HEAD_BYTES, Head, Match
from ingest.kinds.registry import kind_of, kinds, sniff

__all__ = ["HEAD_BYTES", "Cost", "Head", "Kind", "Match", "Place", "kind_of", "kinds", "sniff"]

"""Turn files into streams of segments. Needs no model and no network.

>>> from ingest import ingest
>>> for segment in ingest("holiday/"):           # doctest: +SKIP
...     print(segment.modality, segment.start_s, segment.snippet)
"""

from ingest.config import IngestConfig
from ingest.kinds import Place
from ingest.pipeline import ingest, picture, segments, whole
from ingest.sources.folders import discover
from ingest.sources.identity import identify
from ingest.types import Asset, Failure, Segment

__all__ = [
    "Asset",
    "Failure",
    "IngestConfig",
    "Place",
    "Segment",
    "discover",
    "identify",
    "ingest",
    "picture",
    "segments",
    "whole",
]

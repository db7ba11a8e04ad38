"""Turn files into streams of segments. Needs no model and no network.

>>> from ingest import ingest
>>> for segment in ingest("holiday/"):           # doctest: +SKIP
...     print(segment.modality, segment.start_s, segment.snippet)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ingest.config import IngestConfig
    from ingest.kinds import Place
    from ingest.pipeline import ingest, picture, segments, whole
    from ingest.sources.folders import discover
    from ingest.sources.identity import identify
    from ingest.types import Asset, Failure, Segment

_HOMES = {
    "Asset": "types",
    "Failure": "types",
    "IngestConfig": "config",
    "Place": "kinds",
    "Segment": "types",
    "discover": "sources.folders",
    "identify": "sources.identity",
    "ingest": "pipeline",
    "picture": "pipeline",
    "segments": "pipeline",
    "whole": "pipeline",
}
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


def __getattr__(name: str) -> Any:
    # Imported late: a command that reads settings needs no decoders, which take 0.2 s.
    if name in _HOMES:
        return getattr(import_module(f"ingest.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'ingest' has no attribute {name!r}")

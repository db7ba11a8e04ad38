"""Files in object stores and on file servers, by any URL that fsspec opens."""

from ingest.sources.objects.address import (
    VERSIONS,
    FoundObject,
    ObjectFacts,
    is_object,
    local_path,
    normal,
    version_of,
    whole_path,
)
from ingest.sources.objects.fetching import fetch, fetch_all, look_at_all
from ingest.sources.objects.listing import list_objects
from ingest.sources.objects.server import ObjectServer, Patience

__all__ = [
    "VERSIONS",
    "FoundObject",
    "ObjectFacts",
    "ObjectServer",
    "Patience",
    "fetch",
    "fetch_all",
    "is_object",
    "list_objects",
    "local_path",
    "look_at_all",
    "normal",
    "version_of",
    "whole_path",
]

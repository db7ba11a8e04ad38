"""Files in object stores and on file servers, by any URL that fsspec opens."""

from ingest.sources.objects.address import is_object, local_path, normal, whole_path
from ingest.sources.objects.fetching import fetch, fetch_all, look_at_all
from ingest.sources.objects.listing import list_objects
from ingest.sources.objects.places import VERSIONS, FoundObject, ObjectFacts, version_of
from ingest.sources.objects.server import ObjectServer
from ingest.sources.objects.trying import Patience

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

"""Files from URLs: only of hosts that are allowed, and never from inside one's own network."""

from ingest.sources.remote.download import download, identify_url, is_url
from ingest.sources.remote.policy import UrlPolicy

__all__ = ["UrlPolicy", "download", "identify_url", "is_url"]

"""Files from URLs: only from allowed hosts, and never from the private network."""

from ingest.sources.remote.download import download, identify_url, is_url
from ingest.sources.remote.policy import UrlPolicy

__all__ = ["UrlPolicy", "download", "identify_url", "is_url"]

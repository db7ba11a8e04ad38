"""Settings of the HTTP API."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

from pydantic import Field, IPvAnyNetwork, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

_LOOPBACK_4, _LOOPBACK_6 = ip_network("127.0.0.0/8"), ip_network("::1")


class ApiConfig(BaseSettings):
    """How the API serves; each field is also ``ANYMODAL_API__<FIELD>``.

    >>> ApiConfig(port=9000).threads
    32
    """

    model_config = SettingsConfigDict(env_prefix="ANYMODAL_API__", frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    """The address to listen at."""

    port: int = Field(default=8080, ge=0, le=65_535)
    """The port to listen at; 0 for any that is free."""

    require_key: bool = False
    """Ask for a key also where only this machine can ask."""

    allow_no_key: bool = False
    """Let all ask who reach the address, without a key."""

    keys_file: Path | None = None
    """Where the keys are kept; by default ``keys.json`` beside the store's folder."""

    session_s: float = Field(default=12 * 3600, ge=2 * 3600)
    """How long a session of a browser lasts; the page opens a new one each hour."""

    public_roots: tuple[str, ...] = ()
    """Folders and URLs within which all keys may filter by path, relative to them."""

    allowed_hosts: tuple[str, ...] = ()
    """Names that requests may ask for; those of this machine on the loopback device, else any."""

    cors_origins: tuple[str, ...] = ()
    """Sites whose pages may use the API, such as ``https://example.org``; none at first."""

    proxies: tuple[IPvAnyNetwork, ...] = (_LOOPBACK_4, _LOOPBACK_6)
    """Addresses and networks of the proxies in front: their ``X-Forwarded-For`` and
    ``X-Forwarded-Proto`` are believed, and ``max_connections_per_address`` does not hold for them.
    """

    max_connections: int = Field(default=1000, ge=1)
    """The most connections; beyond that, one that holds its place for nothing makes room."""

    max_connections_per_address: int = Field(default=256, ge=1)
    """The most connections of one address, or of one IPv6 network of 64 bits."""

    head_s: float = Field(default=10.0, gt=0)
    """The longest that the head of a request may take."""

    body_s: float = Field(default=20.0, gt=0)
    """Over so many seconds the rate of a body is measured."""

    write_s: float = Field(default=60.0, gt=0)
    """Over so many seconds the rate is measured at which a client takes an answer."""

    min_bytes_per_s: int = Field(default=500, ge=1)
    """The lowest rate of a body, and of an answer that the client does not take at once."""

    keep_alive_s: int = Field(default=15, ge=1)
    """How long a connection may wait for its next request."""

    threads: int = Field(default=32, ge=1)
    """How many requests are worked at side by side, each in a thread; short ones share another."""

    queue: int = Field(default=64, ge=0)
    """How many more may wait; beyond that the answer is 503."""

    stop_s: float = Field(default=20.0, ge=1)
    """How long a server that is to stop may go on with the requests under way."""

    timeout_s: float = Field(default=30.0, gt=0)
    """The longest that one request may take; then the answer is 504."""

    batch_items: int = Field(default=32, ge=1)
    """The most queries that are encoded, and the most short ones that are searched, at once."""

    batch_wait_ms: float = Field(default=2.0, ge=0)
    """The longest that queries wait for the next one to come, and only while there is company."""

    embedding_cache_bytes: int = Field(default=64 * 2**20, ge=0)
    """How much memory the embeddings of past queries may take."""

    slo_p95_ms: float = Field(default=60.0, gt=0)
    """What 95 of 100 searches should take at most; ``/v1/latency`` says whether they do."""

    slow_query_ms: float = Field(default=1000.0, gt=0)
    """Searches that take longer are logged with all their stages."""

    open_metrics: bool = False
    """Show ``/metrics`` without a key also where one is needed."""

    thumbnail_cache_bytes: int = Field(default=32 * 2**20, ge=0)
    """How much memory thumbnails may take that were made before."""

    max_body_bytes: int = Field(default=48 * 2**20, ge=1)
    """The largest body of a request that is no upload."""

    max_upload_bytes: int = Field(default=8 * 2**30, ge=1)
    """The largest upload: all files of one request together."""

    max_upload_files: int = Field(default=1000, ge=1)
    """The most files in one upload."""

    max_query_bytes: int = Field(default=32 * 2**20, ge=1)
    """The largest picture, sound or film to search with."""

    max_query_s: float = Field(default=60.0, gt=0)
    """The longest sound or film to search with."""

    @field_validator("public_roots")
    @classmethod
    def _end_with_a_slash(cls, roots: tuple[str, ...]) -> tuple[str, ...]:
        for root in roots:
            if not root.startswith(("/", "http://", "https://")):
                raise ValueError(f"{root!r} is neither an absolute path nor a URL")
        return tuple(root.rstrip("/") + "/" for root in roots)

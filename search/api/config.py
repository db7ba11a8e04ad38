"""Settings of the HTTP API."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, IPvAnyNetwork, field_validator

from encoder.settings import EnvironmentSettings
from search.api.access.paths import SOURCE

_LOOPBACK_4, _LOOPBACK_6 = ip_network("127.0.0.0/8"), ip_network("::1")


class ApiConstants(BaseModel):
    """Limits of connections, requests and caches for one server of any size; no settings."""

    model_config = ConfigDict(frozen=True)

    session_s: float = Field(default=12 * 3600, ge=2 * 3600)
    """How long a session of a browser lasts; the page opens a new one each hour."""

    max_connections: int = Field(default=1000, ge=1)
    """The most connections; beyond that, idle ones are closed."""

    max_connections_per_address: int = Field(default=256, ge=1)
    """The most connections of one address, or of one IPv6 network of 64 bits."""

    head_s: float = Field(default=10.0, gt=0)
    """The longest time to receive the head of a request."""

    body_s: float = Field(default=20.0, gt=0)
    """The time over which the rate of a body is measured."""

    write_s: float = Field(default=60.0, gt=0)
    """The time over which the rate of reading an answer is measured."""

    min_bytes_per_s: int = Field(default=500, ge=1)
    """The lowest rate of sending a body, and of reading an answer."""

    keep_alive_s: int = Field(default=15, ge=1)
    """The longest idle time between two requests of a connection."""

    queue: int = Field(default=64, ge=0)
    """The most waiting requests; more are answered with 503."""

    stop_s: float = Field(default=20.0, ge=1)
    """The longest time that a stopping server spends on current requests."""

    batch_items: int = Field(default=32, ge=1)
    """The most queries encoded at once."""

    embedding_cache_bytes: int = Field(default=64 * 2**20, ge=0)
    """The most memory for cached query embeddings."""

    thumbnail_cache_bytes: int = Field(default=32 * 2**20, ge=0)
    """The most memory for thumbnails of sizes that are not kept on the disk."""

    max_body_bytes: int = Field(default=48 * 2**20, ge=1)
    """The largest request body, uploads excepted."""

    max_upload_files: int = Field(default=1000, ge=1)
    """The most files in one upload."""

    max_query_bytes: int = Field(default=32 * 2**20, ge=1)
    """The largest picture, sound or film to search with."""

    max_query_s: float = Field(default=60.0, gt=0)
    """The longest sound or film to search with."""


class ApiConfig(EnvironmentSettings, ApiConstants):
    """Settings of the API; each field is also ``ANYMODAL_API__<FIELD>``.

    >>> ApiConfig(port=9000).threads
    32
    """

    PREFIX = "ANYMODAL_API__"

    host: str = "127.0.0.1"
    """The address to listen on."""

    port: int = Field(default=8080, ge=0, le=65_535)
    """The port to listen on; 0 picks a free one."""

    require_key: bool = False
    """Require a key even if only this machine can connect."""

    allow_no_key: bool = False
    """Accept requests without a key from any machine."""

    keys_file: Path | None = None
    """The file of keys; by default ``keys.json`` beside the store's folder."""

    public_roots: tuple[str, ...] = ()
    """Folders and URLs within which all keys may filter by path, relative to them."""

    sources: tuple[str, ...] = ()
    """Beginnings of URLs that clients may have ingested, such as ``s3://bucket/public/``; none by
    default."""

    allowed_hosts: tuple[str, ...] = ()
    """Accepted ``Host`` names; by default this machine's on the loopback device, else any."""

    cors_origins: tuple[str, ...] = ()
    """Sites whose pages may use the API, such as ``https://example.org``; none by default."""

    proxies: tuple[IPvAnyNetwork, ...] = (_LOOPBACK_4, _LOOPBACK_6)
    """Addresses and networks of the proxies in front: their ``X-Forwarded-For`` and
    ``X-Forwarded-Proto`` are believed, and ``max_connections_per_address`` does not hold for them.
    """

    threads: int = Field(default=32, ge=1)
    """The number of requests processed in parallel, a thread each."""

    timeout_s: float = Field(default=30.0, gt=0)
    """The longest time of a request; then the answer is 504."""

    slo_p95_ms: float | None = Field(default=None, gt=0)
    """A target for the 95th percentile of searches; ``/v1/latency`` says whether it is met."""

    slow_query_ms: float = Field(default=1000.0, gt=0)
    """Slower searches are logged with all their stages."""

    open_metrics: bool = False
    """Serve ``/metrics`` without a key even if one is required."""

    max_upload_bytes: int = Field(default=8 * 2**30, ge=1)
    """The largest upload: all files of one request together."""

    @field_validator("sources")
    @classmethod
    def _are_urls(cls, sources: tuple[str, ...]) -> tuple[str, ...]:
        for source in sources:
            if not SOURCE.fullmatch(source) or source.startswith("file:"):
                raise ValueError(f"{source!r} is not the beginning of a URL that ends in a slash")
        return sources

    @field_validator("public_roots")
    @classmethod
    def _end_with_a_slash(cls, roots: tuple[str, ...]) -> tuple[str, ...]:
        for root in roots:
            if not (root.startswith("/") or SOURCE.fullmatch(f"{root}/")):
                raise ValueError(f"{root!r} is neither an absolute path nor a URL")
        return tuple(root.rstrip("/") + "/" for root in roots)

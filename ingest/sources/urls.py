"""Files from URLs: only from allowed hosts, and never from the private network."""

from __future__ import annotations

import http.client
import ipaddress
import os
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from tempfile import mkdtemp
from time import monotonic
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

from encoder.errors import MediaError, MediaLimitError
from encoder.system.disk import writing
from ingest.config import IngestConfig
from ingest.sources.identity import identify
from ingest.sources.secret_files import check_not_secret
from ingest.types import Asset

_PORTS = {"http": 80, "https": 443}
_UNICAST = ipaddress.ip_network("2000::/3")
"""All that IANA has given out for the public network of IPv6."""
_NOT_PUBLIC = tuple(
    map(
        ipaddress.ip_network,
        (
            "192.88.99.0/24",  # relays of 6to4, until RFC 7526
            "2001::/32",  # Teredo: it tunnels to the IPv4 address within
            "3fff::/20",  # documentation, RFC 9637
        ),
    )
)
"""What `ipaddress` counts as global, at least in some versions of Python."""
_EMBEDDED = tuple(
    map(
        ipaddress.IPv6Network,
        (
            "64:ff9b::/96",  # NAT64
            "::ffff:0:0/96",  # mapped
            "::ffff:0:0:0/96",  # translated, RFC 7915
            "::/96",  # compatible, until RFC 4291
        ),
    )
)
"""Networks whose last 32 bits are an IPv4 address."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Target(NamedTuple):
    """A URL split into its parts; ``path`` includes the query."""

    scheme: str
    host: str
    port: int
    path: str


@dataclass(frozen=True)
class UrlPolicy:
    """The URLs that may be fetched.

    Args:
        hosts: names that are allowed, such as ``example.org``; ``.example.org`` allows all names
            below it. Empty allows nothing.
        networks: private networks that are allowed nevertheless, such as ``10.1.0.0/16``.
        max_redirects: each is checked like the first URL.
    """

    hosts: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    max_redirects: int = 5

    def target(self, url: str) -> Target:
        """Take a URL apart.

        Raises:
            MediaError: it is malformed, neither http nor https, or its host is not allowed.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise MediaError(f"{url!r} is not a URL: {error}.", remedy="Correct it.") from error
        host = (parts.hostname or "").rstrip(".").lower()
        if parts.scheme not in _PORTS or not host or parts.username is not None:
            raise MediaError(
                f"{url!r} is not a plain http or https URL.",
                remedy="Use http://host/path or https://host/path, without a password.",
            )
        if not any(_matches(host, allowed.lower()) for allowed in self.hosts):
            raise MediaError(
                f"{url}: the host {host} is not allowed.",
                remedy=f"Add --allow-url {host} or list it in ANYMODAL_INGEST__URL_HOSTS.",
            )
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return Target(parts.scheme, host, port or _PORTS[parts.scheme], path)

    def addresses(self, url: str, target: Target) -> list[str]:
        """Resolve a host; every address must be a public one (or in ``networks``).

        A name with one bad address is refused, against DNS rebinding.

        Raises:
            MediaError: it has no address, or one that is not allowed.
        """
        try:
            infos = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise MediaError(
                f"{url}: the host {target.host} is unknown ({error}).", remedy="Check its name."
            ) from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in infos))
        for address in addresses:
            self._check(url, target, ipaddress.ip_address(address.partition("%")[0]))
        return addresses

    def _check(self, url: str, target: Target, address: Address) -> None:
        real = _unwrapped(address)
        allowed = map(ipaddress.ip_network, self.networks)
        if not _is_public(real) and not any(
            address in network or real in network for network in allowed
        ):
            raise MediaError(
                f"{url}: the host {target.host} resolves to {address}, which is not a public "
                "address.",
                remedy="List its network in ANYMODAL_INGEST__URL_NETWORKS if you trust it.",
            )


def _matches(host: str, allowed: str) -> bool:
    return host.endswith(allowed) if allowed.startswith(".") else host == allowed


def _unwrapped(address: Address) -> Address:
    """The IPv4 address embedded in an IPv6 address, if any."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if any(address in network for network in _EMBEDDED) and int(address) > 1:  # not :: and ::1
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.sixtofour or address


def _is_public(address: Address) -> bool:
    """Whether an address is on the public network, for all that is known of it."""
    if address.version == 6 and address not in _UNICAST:
        return False
    is_special = address.is_multicast or any(address in network for network in _NOT_PUBLIC)
    return address.is_global and not is_special


_CHUNK_BYTES = 2**16
_WAIT_S = 20.0
_MOVED = (301, 302, 303, 307, 308)


def is_url(path: str) -> bool:
    """Whether a source is a URL rather than a path."""
    return path.lower().startswith(("http://", "https://"))


def identify_url(url: str, folder: Path, config: IngestConfig) -> Asset:
    """As `ingest.sources.identity`, for a URL; the fetched file stays in ``folder``.

    Raises:
        MediaError: see `download` and `ingest.sources.identity`.
        DiskError: ``folder`` cannot be written.
    """
    check_not_secret(urlsplit(url).path, b"", config)
    with writing(folder):
        scratch = Path(mkdtemp(dir=folder))
    file = download(url, scratch, config)
    asset = identify(file, config.model_copy(update={"roots": ()}))
    return replace(asset, uri=url, path=asset.uri)


def download(url: str, folder: Path, config: IngestConfig) -> Path:
    """Fetch a URL into a new file in ``folder``, named after the end of the URL.

    It connects to the checked address itself, so that a name which resolves differently the next
    time gains nothing. Each redirect is checked like the first URL.

    Raises:
        MediaError: not allowed, not found, too slow.
        MediaLimitError: more than ``max_url_bytes``.
    """
    policy = UrlPolicy(config.url_hosts, config.url_networks)
    deadline = monotonic() + config.max_url_s
    name = urlsplit(url).path.rpartition("/")[2]
    file = folder / (re.sub(r"[^\w.-]", "_", name)[-100:].lstrip(".") or "download")
    current_url = url
    for _ in range(policy.max_redirects + 1):
        with _answer(current_url, policy) as answer:
            if answer.status in _MOVED and (location := answer.getheader("Location")):
                current_url = urljoin(current_url, location)
                continue
            if answer.status != 200:
                raise MediaError(
                    f"{current_url}: the server answered {answer.status} {answer.reason}.",
                    remedy="Check that it can be fetched without a login.",
                )
            _save(answer, file, url, config, deadline)
            _date(file, answer.getheader("Last-Modified"))
            return file
    raise MediaError(
        f"{url} is redirected more than {policy.max_redirects} times.",
        remedy="Use the final URL.",
    )


@contextmanager
def _answer(url: str, policy: UrlPolicy) -> Iterator[http.client.HTTPResponse]:
    target = policy.target(url)
    connection = _Pinned(target, policy.addresses(url, target))
    try:
        headers = {"User-Agent": "anymodal", "Accept-Encoding": "identity"}
        connection.request("GET", target.path, headers=headers)
        with connection.getresponse() as answer:
            yield answer
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise MediaError(
            f"{url} cannot be fetched: {error or type(error).__name__}.",
            remedy="Check that the server can be reached.",
        ) from error
    finally:
        connection.close()


def _save(
    answer: http.client.HTTPResponse, file: Path, url: str, config: IngestConfig, deadline: float
) -> None:
    announced_bytes = answer.length or 0
    n_bytes = 0
    with writing(file), file.open("wb") as out:  # a full disk is not the server's fault
        while announced_bytes <= config.max_url_bytes and n_bytes <= config.max_url_bytes:
            if monotonic() > deadline:
                raise MediaLimitError(
                    f"{url} was not fetched in max_url_s, {config.max_url_s:g} s.",
                    remedy="Fetch it yourself and ingest the file.",
                )
            # Read what has arrived, not a whole chunk: the deadline also holds for slow servers.
            if not (chunk := answer.read1(_CHUNK_BYTES)):
                if answer.length:
                    raise http.client.IncompleteRead(b"", answer.length)
                return
            n_bytes += len(chunk)
            out.write(chunk)
    raise MediaLimitError(
        f"{url} has {max(announced_bytes, n_bytes):,} bytes or more; max_url_bytes is "
        f"{config.max_url_bytes:,} bytes.",
        remedy="Raise ANYMODAL_INGEST__MAX_URL_BYTES.",
    )


def _date(file: Path, last_modified: str | None) -> None:
    """Set a file's modification time to the server's, if it sends one."""
    try:
        changed_s = parsedate_to_datetime(last_modified or "").timestamp()
        os.utime(file, (changed_s, changed_s))
    except (ValueError, OverflowError, OSError):
        return


class _Pinned(http.client.HTTPConnection):
    """A connection to a checked address, whatever the name resolves to by now."""

    def __init__(self, target: Target, addresses: list[str]) -> None:
        super().__init__(target.host, target.port, timeout=_WAIT_S)
        self._target = target
        self._addresses = addresses
        self.default_port = 443 if target.scheme == "https" else 80  # of the Host header

    def connect(self) -> None:
        """Try one address after another; the certificate must be that of the host name."""
        plain = self._connect_any()
        if self._target.scheme == "http":
            self.sock = plain
        else:
            context = ssl.create_default_context()
            self.sock = context.wrap_socket(plain, server_hostname=self._target.host)

    def _connect_any(self) -> socket.socket:
        failed: OSError | None = None
        for address in self._addresses:
            try:
                return socket.create_connection((address, self._target.port), _WAIT_S)
            except OSError as error:
                failed = error
        raise failed or OSError("no address")

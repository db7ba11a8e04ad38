"""Decide which URLs may be fetched, and which addresses they may resolve to."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urlsplit

from encoder.errors import MediaError

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

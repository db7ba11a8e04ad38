"""Fetch a URL into a file."""

from __future__ import annotations

import http.client
import os
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from tempfile import mkdtemp
from time import monotonic
from urllib.parse import urljoin, urlsplit

from encoder.errors import MediaError, MediaLimitError
from encoder.system.disk import writing
from ingest.config import IngestConfig
from ingest.sources.identity import identify
from ingest.sources.remote.policy import Target, UrlPolicy
from ingest.types import Asset

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

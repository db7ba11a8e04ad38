"""Ask the server of an object, through fsspec; again if that may help."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from threading import Lock
from time import monotonic
from typing import Any, TypeVar

from encoder.errors import AnymodalError, MediaLimitError
from encoder.system.extras import require
from ingest.config import IngestConfig
from ingest.errors import ClosedSourceError, GoneObjectError, SourceError
from ingest.sources.objects.address import (
    ObjectFacts,
    bucket_path,
    facts_from,
    options_for,
    scheme_of,
    secrets_in,
)

T = TypeVar("T")

_TRIES = 4
_FIRST_PAUSE_S = 0.5
_REFUSED = re.compile("credential|auth|forbidden|permission|accessdenied|token", re.IGNORECASE)
_QUERY = re.compile(r"\?\S+")


class Patience:
    """How long the work on one shard may wait for servers, over all its threads.

    A server that is gone costs this once, and not once for each of its objects.
    """

    def __init__(self, budget_s: float = 30.0) -> None:
        self._left_s = budget_s
        self._lock = Lock()

    def pause(self, attempt: int, spent_s: float) -> bool:
        """Wait before the next try; False if there is to be none.

        Args:
            attempt: 0 after the first.
            spent_s: how long the failed one took.
        """
        wanted_s = _FIRST_PAUSE_S * 2**attempt * (1 + random.random() / 2)
        with self._lock:
            self._left_s -= spent_s
            if attempt + 1 >= _TRIES or wanted_s > self._left_s:
                return False
            self._left_s -= wanted_s
        time.sleep(wanted_s)
        return True


def tried(
    url: str, ask: Callable[[], T], patience: Patience, secrets: Callable[[str], str] = str
) -> T:
    """The answer of a server, which is asked again after a failure that may be temporary.

    Args:
        url: what is asked for.
        ask: asks.
        patience: decides whether to go on.
        secrets: removes passwords from a message.

    Raises:
        SourceError: names what is missing, refused or broken.
    """
    attempt = 0
    while True:
        began = time.monotonic()
        try:
            return ask()
        except AnymodalError:
            raise
        except Exception as error:  # noqa: BLE001 (each file system has errors of its own)
            failed = _problem_of(error, lambda text: f"{url} {secrets(_QUERY.sub('', text))}.")
            can_wait = type(failed) is SourceError and not failed.remedy
            if not can_wait or not patience.pause(attempt, time.monotonic() - began):
                failed.remedy = failed.remedy or "Run the ingest again once its server answers."
                raise failed from None
            attempt += 1


def _problem_of(error: Exception, say: Callable[[str], str]) -> SourceError:
    """What is wrong; an error without a remedy may be temporary."""
    reason = " ".join((str(error) or type(error).__name__).split())[:300].rstrip(".")
    if isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError):
        return GoneObjectError(
            say("is not there"), remedy="Check the name of the bucket and of what is in it."
        )
    if isinstance(error, PermissionError) or _is_refusal(error):
        return ClosedSourceError(
            say(f"may not be read ({reason})"),
            remedy="Give this process credentials that may read it: in the environment, in a "
            "profile or in ANYMODAL_INGEST__STORAGE_OPTIONS.",
        )
    if isinstance(error, TypeError | ValueError | ImportError):
        return SourceError(
            say(f"cannot be opened ({type(error).__name__}: {reason})"),
            remedy="Check ANYMODAL_INGEST__STORAGE_OPTIONS.",
        )
    return SourceError(say(f"cannot be read ({reason})"))


def _is_refusal(error: Any) -> bool:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status in (401, 403) or bool(_REFUSED.search(type(error).__name__))


_MODULES = {
    "abfs": "adlfs",
    "abfss": "adlfs",
    "az": "adlfs",
    "gs": "gcsfs",
    "s3": "s3fs",
    "sftp": "paramiko",
    "webdav": "webdav4",
    "webdavs": "webdav4",
}
_HOSTS = ("sftp", "webdav", "webdavs", "ftp", "smb")
"""For these schemes, the host is not part of the path that fsspec expects."""


class ObjectServer:
    """The server of a bucket or a host. Safe in threads.

    Args:
        url: of an object or a folder there, as `normal` writes it.
        config: ``storage_options`` and limits.
        patience: how long to wait for it.

    Raises:
        MissingExtraError: the library that reads such URLs is not installed.
        SourceError: no library reads them, or the server refuses.
    """

    def __init__(self, url: str, config: IngestConfig, patience: Patience | None = None) -> None:
        self._scheme = scheme_of(url)
        if module := _MODULES.get(self._scheme):
            require(f"{self._scheme}://", module)
        self._host = url[: url.find("/", len(self._scheme) + 3) + 1]
        self._options = options_for(url, config)
        self._patience = patience or Patience()

    def look(self, url: str) -> ObjectFacts | None:
        """The current facts of an object; None if it is a folder.

        Raises:
            SourceError: it is not there, or cannot be looked at.
        """
        info = self._ask(url, lambda: self._fs.info(self._inner(url)))
        return None if info["type"] == "directory" else facts_from(url, info)

    def read(self, url: str, start: int, end: int, deadline: float | None = None) -> bytes:
        """The bytes from ``start`` to before ``end``.

        Raises:
            SourceError: they cannot be read.
            MediaLimitError: the deadline, of `time.monotonic`, has passed.
        """
        from fsspec.asyn import sync

        inner = self._inner(url)

        def ask() -> bytes:
            left_s = None if deadline is None else deadline - monotonic()
            if left_s is not None and left_s <= 0:
                raise MediaLimitError(
                    f"{url} was not read in max_url_s.",
                    remedy="Fetch it yourself and ingest the file.",
                )
            if not self._fs.async_impl:
                return bytes(self._fs.cat_file(inner, start=start, end=end))
            return bytes(
                sync(self._fs.loop, self._fs._cat_file, inner, start=start, end=end, timeout=left_s)
            )

        return bytes(self._ask(url, ask))

    def entries(self, folder: str) -> Iterator[list[tuple[str, ObjectFacts | None]]]:
        """What lies in a folder, in pages: names, and the facts of those that are objects.

        Only S3 sends pages; the folders of other servers are one page each.

        Args:
            folder: ends in a slash.

        Raises:
            SourceError: while iterating; then the entries so far are not all.
        """
        inner = self._inner(folder)
        for page in self._pages(folder, inner):
            named_entries = [(_name(entry["name"], inner), entry) for entry in page]
            yield [
                (name, None if is_folder else facts_from(folder + name, entry))
                for name, entry in named_entries
                # An object whose name ends in a slash stands for the folder itself.
                if name and ((is_folder := entry["type"] == "directory") or name[-1] != "/")
            ]

    def _pages(self, folder: str, inner: str) -> Iterator[list[Mapping[str, Any]]]:
        fs = self._ask(folder, lambda: self._fs)  # opening it may fail too
        if hasattr(fs, "call_s3"):
            yield from self._s3_pages(folder, *inner.split("/", 1))
            return
        page = self._ask(folder, lambda: self._fs.ls(inner, detail=True))
        self._fs.invalidate_cache()
        yield sorted(page, key=lambda entry: str(entry["name"]))

    def _s3_pages(self, folder: str, bucket: str, prefix: str) -> Iterator[list[Mapping[str, Any]]]:
        """Pages as S3 sends them: `s3fs` would keep all of a folder in memory."""
        continuation: dict[str, str] = {}
        request = {"Bucket": bucket, "Prefix": prefix, "Delimiter": "/", **self._fs.req_kw}
        while True:
            page = self._ask(
                folder, partial(self._fs.call_s3, "list_objects_v2", **request, **continuation)
            )
            yield [
                *(
                    {"name": f"{bucket}/{common_prefix['Prefix']}", "type": "directory"}
                    for common_prefix in page.get("CommonPrefixes", ())
                ),
                *(
                    {
                        **listed_object,
                        "name": f"{bucket}/{listed_object['Key']}",
                        "size": listed_object["Size"],
                        "type": "file",
                    }
                    for listed_object in page.get("Contents", ())
                ),
            ]
            if not page.get("IsTruncated"):
                return
            continuation = {"ContinuationToken": page["NextContinuationToken"]}

    def _ask(self, url: str, ask: Callable[[], Any]) -> Any:
        return tried(url, ask, self._patience, self._without_secrets)

    @cached_property
    def _fs(self) -> Any:
        import fsspec

        name = "webdav" if self._scheme == "webdavs" else self._scheme
        try:
            file_system = fsspec.get_filesystem_class(name)
        except (ImportError, ValueError) as error:
            raise SourceError(
                f"{self._host} cannot be read: {error}.",
                remedy="Use s3://, gs://, az://, sftp://, webdav:// or another scheme of fsspec.",
            ) from error
        opened = file_system(
            **self._defaults(file_system._get_kwargs_from_urls(self._host)), **self._options
        )
        if self._scheme == "s3":
            opened.retries = 1  # `tried` is patient, and knows for how long
        return opened

    def _defaults(self, given_options: Mapping[str, Any]) -> dict[str, Any]:
        """The options from the URL and this module that the user's options do not set."""
        host = self._host.partition("://")[2]
        by_scheme: dict[str, dict[str, Any]] = {
            "s3": {"config_kwargs": {"retries": {"total_max_attempts": 1}}},
            "webdav": {"base_url": f"http://{host}"},
            "webdavs": {"base_url": f"https://{host}"},
        }
        ours = by_scheme.get(self._scheme, {})
        return {k: v for k, v in {**ours, **given_options}.items() if k not in self._options}

    def _inner(self, url: str) -> str:
        path = bucket_path(url)[1:]
        return "/" + path.partition("/")[2] if self._scheme in _HOSTS else path

    def _without_secrets(self, text: str) -> str:
        for secret in secrets_in(self._options):
            text = text.replace(secret, "…")
        return text


def _name(path: str, folder: str) -> str:
    if folder.startswith("/"):  # WebDAV's names have no leading slash
        path, folder = path.lstrip("/"), folder.lstrip("/")
    return path.removeprefix(folder) if path.startswith(folder) else ""

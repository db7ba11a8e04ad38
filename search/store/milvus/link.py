"""A connection to Milvus whose calls all end in time, and fail with our own errors."""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

from encoder.errors import DiskError
from encoder.system.disk import disk_error_in
from encoder.system.environment import set_for_library, variable
from search.errors import StoreError, StoreUnavailableError
from search.store.milvus import lite

_PAUSE_S = 0.2
# How far behind a "Bounded" read may be is the server's setting: 5 s by default.
_SETTLE_S = 15.0
_LAST_ORDERED = (2, 3, 5)  # the last version for which it was tested
_LOGICAL_BITS = 18  # of a timestamp, below its milliseconds
_NOT_LOADED = 101  # Milvus's code, which pymilvus does not name
# pymilvus pings every 10 s, even when idle. After some minutes, a Lite server takes that for an
# attack ("too_many_pings") and closes the connection. Every call has its own time limit.
_GRPC_OPTIONS = {"grpc.keepalive_time_ms": 600_000, "grpc.keepalive_permit_without_calls": 0}


class MilvusLink:
    """A client of one address. Safe to use from threads; not usable in a forked child.

    Args:
        target: ``http://[user:password@]host:port[/database]``, or a FILE.db for Milvus Lite.
        timeout_s: the longest that one call may take.
        connect_timeout_s: the longest to wait until the server answers at all.
        store_name: the name of the store in messages; a password is never part of it.

    Raises:
        StoreUnavailableError: nothing answers.
    """

    def __init__(
        self,
        target: str,
        *,
        timeout_s: float,
        connect_timeout_s: float,
    ) -> None:
        self.shown = without_password(target)
        self._timeout_s = timeout_s
        self._pid = os.getpid()
        self._lock = Lock()
        self._seen_ts, self._settles_at_s = 0, 0.0
        self._file = Path(target) if lite.is_file(target) else None
        # A server takes writes of many clients at once; see `LiteFile`.
        self._writing: AbstractContextManager[object] = nullcontext()
        if self._file:
            self._writing = lite.joined(self._file).writing
        try:
            self._client = self._connect(target, connect_timeout_s)
        except BaseException:
            if self._file:
                lite.left(self._file)
            raise
        version = self.version = str(self.call("get_server_version"))
        self.is_lite = version.startswith("milvus_lite")
        # Milvus 2.3 has patterns such as "ab%" only.
        self.knows_infix = self.is_lite or _release(version) >= (2, 4)
        # Others can answer with fewer rows than they have: some of their shards' first ones.
        self.fills_pages = self.is_lite or _release(version) < (2, 4)
        # Its reads begin at the least key anyway; if asked to, they wait for a time tick as well.
        self.orders_pages = not self.is_lite and (2, 3) <= _release(version) <= _LAST_ORDERED
        # For an index; older versions accept the option and ignore it.
        self.knows_mmap = not self.is_lite and _release(version) >= (2, 4)
        self.knows_bm25 = self.is_lite or _release(version) >= (2, 5)

    def call(self, method: str, *args: Any, **options: Any) -> Any:
        """Call a method of `pymilvus.MilvusClient`, with the time limit."""
        client = self._usable()
        alone = self._writing if method in lite.WRITES else nullcontext()
        with self.translated(method), alone:
            return getattr(client, method)(*args, timeout=self._timeout_s, **options)

    def catch_up(self) -> None:
        """Make the next reads see all that was acknowledged so far, to this process and others."""
        if self.is_lite:  # whatever was acknowledged is seen
            return
        now_ts = self._now_ts()
        with self._lock:
            self._seen_ts = max(self._seen_ts, now_ts)
            self._settles_at_s = time.monotonic() + _SETTLE_S

    def now_s(self) -> float:
        """The server's clock, in seconds since 1970; this machine's if the server has none."""
        now_ts = 0 if self.is_lite else self._now_ts()
        return (now_ts >> _LOGICAL_BITS) / 1000 if now_ts else time.time()

    def _now_ts(self) -> int:
        client = self._usable()
        with self.translated("alloc_timestamp"):
            # There is no public way to ask for the time; a server without one answers 0,
            # which makes the next reads "Strong".
            return int(client._get_connection().alloc_timestamp(timeout=self._timeout_s))

    def freshness(self) -> dict[str, Any]:
        """Options that make a read as new as the last `catch_up`, and 5 s old at most.

        "Strong" waits for the server's next time tick in every read: 200 ms, measured. A timestamp
        is waited for once. pymilvus's "Session" is no better and sees too little: it has no
        timestamps of deletes, and none at all in a new process, so that a server that is reading
        its log again after a restart answers as if nothing were stored.
        """
        if time.monotonic() > self._settles_at_s:
            return {"consistency_level": "Bounded"}
        return {"consistency_level": "Customized", "guarantee_timestamp": self._seen_ts}

    @contextmanager
    def translated(self, action: str) -> Iterator[None]:
        """Raise the errors of Milvus and gRPC as `StoreError`, or `DiskError`."""
        import grpc
        from pymilvus.exceptions import MilvusException

        try:
            yield
        except (MilvusException, grpc.RpcError) as error:
            raise self._explained(action, error) from error

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None and self._pid == os.getpid():
            with self.translated("close"):
                client.close()
            if self._file:
                lite.left(self._file)

    def _usable(self) -> Any:
        if self._client is None:
            raise StoreError(f"The store {self.shown} is closed.", remedy="Open it again.")
        if self._pid != os.getpid():
            # gRPC channels do not survive a fork: calls on them may hang forever.
            raise StoreError(
                f"The store {self.shown} was opened before this process was forked.",
                remedy="Open it in the process that uses it.",
            )
        return self._client

    def _connect(self, uri: str, connect_timeout_s: float) -> Any:
        """Retry in our own loop: a starting server accepts connections and refuses calls."""
        open_client = load_client()
        deadline = time.monotonic() + connect_timeout_s
        while True:
            left_s = max(deadline - time.monotonic(), _PAUSE_S)
            client = None
            try:
                with self.translated("connect"):
                    client = open_client(
                        uri, timeout=left_s, dedicated=True, grpc_options=_GRPC_OPTIONS
                    )
                    client.list_collections(timeout=left_s)
                    return client
            except StoreUnavailableError:
                if client is not None:
                    client.close()
                if time.monotonic() + _PAUSE_S >= deadline:
                    raise
            time.sleep(_PAUSE_S)

    def _explained(self, action: str, error: Exception) -> StoreError | DiskError:
        if full := disk_error_in(_reason(error), f"The store {self.shown}"):
            return full
        if _is_login_refused(error):
            return StoreError(
                f"The store {self.shown} refused the login or requires one.",
                remedy="Set it in the URL (http://USER:PASSWORD@HOST:19530) or in "
                "ANYMODAL_STORE_LOGIN.",
            )
        message = f"The store {self.shown} failed at {action}: {_reason(error)}."
        if _is_temporary(error):
            return StoreUnavailableError(
                message, remedy="Check that the server is running and reachable, then try again."
            )
        return StoreError(message)


def load_client() -> Any:
    """`pymilvus.MilvusClient`, which many threads may use from the first call on."""
    set_for_library("GRPC_VERBOSITY", "ERROR")
    from pymilvus import MilvusClient
    from pymilvus.client.utils import SciPyHelper

    if variable("PYMILVUS_LOG_LEVEL") is None:
        # It also prints to stderr what it raises, and warns of an old server.
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
    SciPyHelper._init = partial(_know_sparse, SciPyHelper)
    return MilvusClient


def _know_sparse(helper: Any) -> None:
    """Make the client know SciPy's sparse matrices only once somebody has loaded them.

    By default, it loads them with its first search or write, a tenth of a CPU-second, and without a
    lock: of several first searches at once, all but one may fail.
    """
    if not helper._checked and "scipy.sparse" in sys.modules:
        from scipy import sparse

        helper._matrix_available = hasattr(sparse, "csr_matrix")
        helper._array_available = hasattr(sparse, "csr_array")
        helper._checked = True


def without_password(uri: str) -> str:
    """The URI without user and password, for messages.

    >>> without_password("http://me:secret@host:19530/db")
    'http://host:19530/db'
    """
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _release(version: str) -> tuple[int, ...]:
    """(2, 3, 5) for "v2.3.5-lite"; (0,) if it is not a release, such as a commit."""
    numbers = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", version)
    return tuple(int(number or 0) for number in numbers.groups()) if numbers else (0,)


def _reason(error: Exception) -> str:
    """The first line of what happened, without gRPC's dump."""
    details = getattr(error, "details", None)
    text = details() if callable(details) else getattr(error, "message", "")
    return (str(text or error).strip().splitlines() or [type(error).__name__])[0][:300].rstrip(".")


def _is_login_refused(error: Exception) -> bool:
    """Whether gRPC refused the login, which pymilvus reports as a server that may be down."""
    import grpc

    causes = (error, error.__cause__, error.__context__)
    codes = [cause.code() for cause in causes if isinstance(cause, grpc.RpcError)]
    return grpc.StatusCode.UNAUTHENTICATED in codes


def _is_temporary(error: Exception) -> bool:
    import grpc
    from pymilvus.exceptions import ConnectError, ErrorCode, MilvusUnavailableException

    temporary = {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        ErrorCode.RATE_LIMIT,
        _NOT_LOADED,  # after a restart: a server will load by itself, Lite when it is reopened
    }
    code = error.code() if isinstance(error, grpc.RpcError) else getattr(error, "code", None)
    if code in temporary or isinstance(error, ConnectError | MilvusUnavailableException):
        return True
    # pymilvus retries by itself until the time limit, then drops the code of the cause.
    text = str(error)
    return (
        getattr(error, "retriable", False) or "Retry timeout" in text or "Fail connecting" in text
    )

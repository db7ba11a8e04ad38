"""Ask a server again if that may help, and say what is wrong if it does not."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from threading import Lock
from typing import Any, TypeVar

from encoder.errors import AnymodalError
from ingest.errors import ClosedSourceError, GoneObjectError, SourceError

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

"""Logs of a worker or a server: one line per record, text or JSON, with the ids of current work."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from urllib.parse import unquote, urlsplit

from search.request_id import current_request_id
from workers.observe.printable import one_line, printable, safe_json

FIELDS = ("request_id", "job_id", "shard_id", "task_id", "asset_id")

_under_way: ContextVar[dict[str, str] | None] = ContextVar("under_way", default=None)
_CREDENTIALS = re.compile(r"(\w+://)[^/\s@]*@")


@contextmanager
def about(**ids: str) -> Iterator[None]:
    """Add ids (some of `FIELDS`) to records of this block; threads need a copy of the context."""
    token = _under_way.set({**(_under_way.get() or {}), **ids})
    try:
        yield
    finally:
        _under_way.reset(token)


class AddIds(logging.Filter):
    """Adds the ids of the current request or task to each record. For handlers, not loggers."""

    def filter(self, record: logging.LogRecord) -> bool:
        ids = {"request_id": request_id} if (request_id := current_request_id()) else {}
        ids |= _under_way.get() or {}
        data = getattr(record, "data", None)  # how Celery's main process reports a task
        if isinstance(data, dict) and "id" in data:
            ids.setdefault("task_id", str(data["id"]))
        record.ids = {field: ids[field] for field in FIELDS if field in ids}
        return True


class TextFormatter(logging.Formatter):
    """``time level logger message [job_id=…]``, then the traceback, if there is one."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        self._secrets = list(secrets)

    def format(self, record: logging.LogRecord) -> str:
        ids = "".join(f" {field}={value}" for field, value in _ids(record).items())
        message = one_line(record.getMessage())
        head = f"{_time(record)} {record.levelname} {record.name} {message}{ids}"
        error = _traceback(self, record)
        return printable(clean(f"{head}\n{error}" if error else head, self._secrets))


class JsonFormatter(TextFormatter):
    """One object a line: ``time, level, logger, message``, ids, and ``error`` with a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        error = _traceback(self, record)
        fields = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_ids(record),
            **({"error": error} if error else {}),
        }
        cleaned = {name: clean(value, self._secrets) for name, value in fields.items()}
        return safe_json(json.dumps(cleaned, ensure_ascii=False))


def begin_task(task_id: str, args: Sequence[object]) -> None:
    """Add a task's id to this context; for `workers.tasks.run_shard`, its shard's too."""
    names = ("job_id", "shard_id") if len(args) == 2 else ()
    _under_way.set({"task_id": task_id, **dict(zip(names, map(str, args), strict=False))})


def end_task() -> None:
    _under_way.set(None)


def set_up(form: str, level: str | int, urls: Iterable[str]) -> None:
    """Log all records of this process and its forks to stderr.

    Args:
        level: the lowest level to log. Python's warnings are logged too.
        urls: of broker and store; their passwords never appear.
    """
    formatter = JsonFormatter if form == "json" else TextFormatter
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(passwords(urls)))
    handler.addFilter(AddIds())
    logging.basicConfig(handlers=[handler], level=level, force=True)
    logging.captureWarnings(True)


def passwords(urls: Iterable[str]) -> list[str]:
    """The passwords in these URLs, quoted and unquoted.

    >>> passwords(["redis://me:p%40ss@host/0", "http://host:19530"])
    ['p%40ss', 'p@ss']
    """
    raw_passwords = [password for url in urls if (password := urlsplit(url).password)]
    return list(dict.fromkeys(spelling for p in raw_passwords for spelling in (p, unquote(p))))


def clean(text: str, secrets: Iterable[str] = ()) -> str:
    """Redact secrets, and user and password in any URL.

    >>> clean("redis://me:x@host/0 refused hunter2", ["hunter2"])
    'redis://**@host/0 refused **'
    """
    text = _CREDENTIALS.sub(r"\1**@", text)
    for secret in secrets:
        text = text.replace(secret, "**")
    return text


def _time(record: logging.LogRecord) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{whole}.{int(record.msecs):03d}Z"


def _ids(record: logging.LogRecord) -> dict[str, str]:
    ids: dict[str, str] = getattr(record, "ids", {})
    return ids


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    return formatter.formatException(record.exc_info) if record.exc_info else ""

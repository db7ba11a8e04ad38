"""Writes ``search/client/sync.py`` from the asynchronous client, so that they cannot differ.

python -m scripts.sync_client
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

SOURCE = Path("search/client/asynchronous.py")
TARGET = Path("search/client/sync.py")

_WORDS = {
    "AsyncAnymodal": "Anymodal",
    "AsyncBaseTransport": "BaseTransport",
    "AsyncClient": "Client",
    "AsyncIterator": "Iterator",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "aclose": "close",
    "aiter_bytes": "iter_bytes",
    "anyio.sleep": "time.sleep",
    "aread": "read",
}
_HEAD = '"""The synchronous client, written by `scripts.sync_client`: edit the asynchronous one."""'
_LOOP = re.compile(r"^( +)for (\w+) in (.+):\n +yield \2\n", re.MULTILINE)


def sync_source(source: str) -> str:
    """The synchronous client's code.

    >>> sync_source("async def job(self):\\n    return await send_async(self)\\n")
    'def job(self):\\n    return send(self)\\n'
    """
    text = re.sub(r"\b(async|await) ", "", source)
    for word, plain in _WORDS.items():
        text = re.sub(rf"\b{word}\b", plain, text)
    text = re.sub(r'^""".+"""', _HEAD, text, count=1)
    text = text.replace("import anyio\n", "").replace(
        "from collections.abc import Iterator", "import time\nfrom collections.abc import Iterator"
    )
    text = text.replace(" for an event loop;", ";")
    return _LOOP.sub(r"\1yield from \3\n", text)


def generated() -> str:
    """What `TARGET` must hold, formatted as all code."""
    text = sync_source(SOURCE.read_text())
    for options in (["check", "--quiet", "--fix", "--select", "I"], ["format"]):
        command = [sys.executable, "-m", "ruff", *options, "-"]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
        text = done.stdout
    return text


if __name__ == "__main__":
    TARGET.write_text(generated())

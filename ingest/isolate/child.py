"""The program of a decoder process: ``python -m … READ_FD WRITE_FD BYTES AREA``."""

from __future__ import annotations

import json
import os
import resource
import select
import sys
from base64 import b64decode
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from threading import Thread
from typing import Any

from encoder.errors import CorruptMediaError, MediaError, MediaLimitError
from ingest.config import IngestConfig
from ingest.isolate import wire
from ingest.isolate.kernel_limits import confine
from ingest.isolate.wire import Channel, Message
from ingest.kinds.contract import Place
from ingest.kinds.reading import Header, decode, preview, read_header
from ingest.kinds.registry import Candidate, kinds, named, sniff

_MAX_FILES_OPEN = 32
_MAX_REQUEST_BYTES = 2**20


def main() -> None:
    """Answer requests until the other end is closed."""
    read_fd, write_fd, memory_bytes = (int(value) for value in sys.argv[1:4])
    for kind in kinds():
        if kind.made_by:  # ours import at their first file, and most folders hold few kinds
            kind.load()
    _set_limits(memory_bytes)
    os.dup2(sys.stdout.fileno(), sys.stderr.fileno())  # /dev/null: the other may be a terminal
    confined = confine(Path(sys.argv[4]))
    Thread(target=_leave_with_parent, args=(read_fd,), daemon=True).start()
    channel = Channel(read_fd, write_fd, _MAX_REQUEST_BYTES)
    channel.send(Message({"ready": True, **confined._asdict()}))
    while True:
        try:
            request = channel.receive()
        except EOFError:
            return
        for answer in _answers(request.head):
            channel.send(answer)


def _set_limits(memory_bytes: int) -> None:
    for limit, value in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, _MAX_FILES_OPEN),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))


def _leave_with_parent(read_fd: int) -> None:
    """End when the parent does: if killed, it cannot end this process, and decoding can be slow."""
    poll = select.poll()
    poll.register(read_fd, 0)  # readable only when the other end is closed
    poll.poll()
    os._exit(1)


def _answers(request: Mapping[str, Any]) -> Iterator[Message]:
    try:
        config = _config(json.dumps(request["config"]))
        if "asset" in request:
            asset = wire.asset_from_json(request["asset"])
            if "place" in request:
                pieces = iter([preview(asset, Place(**request["place"]), config)])
            else:
                pieces = decode(asset, config)
            yield from map(wire.segment_to_message, pieces)
            yield Message({"end": True})
        elif "sniffs" in request:
            head = b64decode(request["sniffs"])
            yield wire.candidates_to_message(sniff(head, request["uri"], request["wanted"]))
        else:
            yield Message({"header": vars(_header(request, config))})
    except MediaError as error:
        yield wire.error_to_message(error)
    except MemoryError:
        yield wire.error_to_message(_too_much_memory(request))
    except Exception as error:  # noqa: BLE001  whatever a decoder raises on hostile bytes
        yield wire.error_to_message(_undecodable(request, error))


@lru_cache(maxsize=1)
def _config(text: str) -> IngestConfig:
    """Reading settings takes longer than splitting a short text, and they hardly ever change."""
    return IngestConfig(**json.loads(text))


def _too_much_memory(request: Mapping[str, Any]) -> MediaError:
    return MediaLimitError(
        f"{request['uri']} needs more memory to decode than max_memory_bytes, "
        f"{request['config']['max_memory_bytes']:,}.",
        remedy="Raise ANYMODAL_INGEST__MAX_MEMORY_BYTES, or split it or scale it down.",
    )


def _undecodable(request: Mapping[str, Any], error: Exception) -> MediaError:
    return CorruptMediaError(
        f"{request['uri']} cannot be decoded ({type(error).__name__}: {error}).",
        remedy="Check that it opens elsewhere; if it does not, fetch or export it again.",
    )


def _header(request: Mapping[str, Any], config: IngestConfig) -> Header:
    candidates = [Candidate(named(name), media_type) for name, media_type in request["candidates"]]
    return read_header(Path(request["uri"]), candidates, request["size_bytes"], config)


if __name__ == "__main__":
    main()

"""Send a range of a file on another server (RFC 9110, 14)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from fastapi.responses import Response, StreamingResponse

from search.api.ports import RemoteFile

_RANGE = re.compile(r"bytes=([0-9]*)-([0-9]*)")


def remote_content(
    file: RemoteFile,
    media_type: str,
    headers: Mapping[str, str],
    request_headers: Mapping[str, str],
) -> Response:
    """The whole of a file, or the range that a client asks for; 416 if it has no such range.

    For several ranges, which a server may ignore, the whole file is sent.

    Args:
        file: read while it is sent.
        media_type: for the client.
        headers: of the answer, with its ``ETag``.
        request_headers: ``method`` and the headers of the request, in lower case.
    """
    size = file.size_bytes
    all_headers = {**headers, "Accept-Ranges": "bytes"}
    range_header = request_headers.get("range", "")
    if request_headers.get("if-range", headers["ETag"]) != headers["ETag"]:
        range_header = ""
    start, end = span(range_header, size)
    if start >= end and range_header:
        return Response(status_code=416, headers={"Content-Range": f"bytes */{size}"})
    status = 206 if (start, end) != (0, size) else 200
    if status == 206:
        all_headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    all_headers["Content-Length"] = str(end - start)
    if request_headers.get("method") == "HEAD":
        return Response(b"", status, all_headers, media_type)
    return StreamingResponse(file.pieces(start, end), status, all_headers, media_type)


def span(header: str, size: int) -> tuple[int, int]:
    """The first byte of a range, and the one after its last; the whole file if it is not one.

    >>> span("bytes=2-3", 9), span("bytes=7-", 9), span("bytes=-4", 9), span("", 9)
    ((2, 4), (7, 9), (5, 9), (0, 9))
    >>> span("bytes=9-", 9), span("bytes=0-1,4-5", 9)
    ((9, 9), (0, 9))
    """
    match = _RANGE.fullmatch(header.replace(" ", ""))
    if not match or not (match[1] or match[2]):
        return 0, size
    if not match[1]:
        return max(size - _number(match[2]), 0), size
    start, last = _number(match[1]), _number(match[2]) if match[2] else size
    if match[2] and last < start:
        return 0, size
    return min(start, size), min(last + 1, size)


def _number(digits: str) -> int:
    """A position in a file; what no file reaches is one number, since int() refuses 5,000 digits.

    >>> _number("007"), _number("9" * 5000)
    (7, 9223372036854775808)
    """
    digits = digits.lstrip("0")
    return min(int(digits or "0"), 2**63) if len(digits) < 20 else 2**63

"""The texts in Pages, Numbers and Keynote since 2013 (.iwa): protobuf in chunks of Snappy."""

from __future__ import annotations

from collections.abc import Iterator

_MOST_CHUNK_BYTES = 2**20
"""A chunk unpacks to 64 KiB; one that claims more is damaged or a bomb."""

# The types of messages that hold texts, and the fields in which they do.
_STORAGE, _STORAGE_TEXT = 2001, 3  # TSWP.StorageArchive: the paragraphs of a page or a shape
_TABLE, _TABLE_ENTRY, _ENTRY_TEXT = 6005, 3, 3  # TST.TableDataList: the texts in cells
_INFO_MESSAGE, _MESSAGE_TYPE, _MESSAGE_BYTES = 2, 1, 3  # TSP.ArchiveInfo, before each object


def iwork_texts(iwa: bytes) -> Iterator[str]:
    """The paragraphs and the cells in a file of such a document.

    Raises:
        ValueError: it is damaged.
    """
    data, at = _unpacked(iwa), 0
    while at < len(data):
        n_bytes, at = _varint(data, at)
        info, at = data[at : at + n_bytes], at + n_bytes
        for number, message in _fields(info):
            if number != _INFO_MESSAGE or not isinstance(message, bytes):
                continue
            facts = dict(_fields(message))
            n_bytes = int(facts.get(_MESSAGE_BYTES, 0))
            payload, at = data[at : at + n_bytes], at + n_bytes
            if facts.get(_MESSAGE_TYPE) == _STORAGE:
                yield from _texts(payload, _STORAGE_TEXT)
            elif facts.get(_MESSAGE_TYPE) == _TABLE:
                for number, entry in _fields(payload):
                    if number == _TABLE_ENTRY and isinstance(entry, bytes):
                        yield from _texts(entry, _ENTRY_TEXT)


def _texts(message: bytes, field_number: int) -> Iterator[str]:
    for number, value in _fields(message):
        if number == field_number and isinstance(value, bytes):
            yield value.decode("utf-8", "replace").replace("\ufffc", " ")  # stands for a picture


def _unpacked(iwa: bytes) -> bytes:
    pieces, at = list[bytes](), 0
    while at + 4 <= len(iwa):
        end = at + 4 + int.from_bytes(iwa[at + 1 : at + 4], "little")
        if chunk := iwa[at + 4 : end]:
            pieces.append(_of_snappy(chunk))
        at = end
    return b"".join(pieces)


def _of_snappy(chunk: bytes) -> bytes:
    """A chunk, unpacked. Packages that do this are larger than all other code for this format."""
    n_bytes, at = _varint(chunk, 0)
    if n_bytes > _MOST_CHUNK_BYTES:
        raise ValueError(f"a chunk of {n_bytes:,} bytes")
    unpacked = bytearray()
    while at < len(chunk) and len(unpacked) < n_bytes:
        tag, n = chunk[at] & 3, chunk[at] >> 2
        # How many bytes follow of the length, if these are the bytes themselves, or of the distance
        # at which they were before.
        n_more = max(0, n - 59) if tag == 0 else (1, 2, 4)[tag - 1]
        number = int.from_bytes(chunk[at + 1 : at + 1 + n_more], "little")
        high, at = n >> 3, at + 1 + n_more
        if tag == 0:
            n = (number if n_more else n) + 1
            unpacked += chunk[at : at + n]
            at += n
            continue
        distance, n = (high << 8 | number, (n & 7) + 4) if tag == 1 else (number, n + 1)
        begin = len(unpacked) - distance
        if not distance or begin < 0:
            raise ValueError(f"a copy of what is {distance:,} bytes before")
        run = unpacked[begin : begin + n]
        unpacked += (run * -(-n // len(run)))[:n]  # it may reach into what it makes
    if len(unpacked) != n_bytes or at != len(chunk):
        raise ValueError(f"a chunk of {len(unpacked):,} bytes instead of {n_bytes:,}")
    return bytes(unpacked)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number at a position, and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        value |= (data[at] & 127) << shift
        at += 1
        if data[at - 1] < 128:
            return value, at
    raise ValueError("a number without an end")


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The numbers and values of a message's fields, by their encoding in protobuf."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        if key & 7 == 0:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        n_bytes = {1: 8, 5: 4}.get(key & 7, 0)
        if key & 7 == 2:
            n_bytes, at = _varint(message, at)
        elif not n_bytes:
            raise ValueError(f"a field of type {key & 7}")
        yield key >> 3, message[at : at + n_bytes]
        at += n_bytes

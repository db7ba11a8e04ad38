"""The number of acknowledged commits, in a file beside the database.

A database that is behind it has lost commits, as when its log was removed or an old file was put
back, which SQLite itself does not see.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

from search.store.folders import opened

_NUMBER = struct.Struct("<QI")


def counter_path(database: Path) -> Path:
    return database.with_suffix(".version")


def read_counter(database: Path) -> int:
    """The number of commits; 0 if the file is missing or damaged, which the next commit mends."""
    try:
        number, checksum = _NUMBER.unpack(counter_path(database).read_bytes()[: _NUMBER.size])
    except (FileNotFoundError, struct.error):
        return 0
    return int(number) if checksum == _sum_of(number) else 0


def write_counter(database: Path, number: int) -> None:
    """Note a commit, in one write. It may be lost with the power: the database is ahead then."""
    with opened(counter_path(database), os.O_WRONLY | os.O_CREAT) as file:
        os.pwrite(file, _NUMBER.pack(number, _sum_of(number)), 0)


def _sum_of(number: int) -> int:
    return zlib.crc32(number.to_bytes(8, "little"))

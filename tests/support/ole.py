"""OLE files, written by hand: no library writes Outlook's mails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from struct import pack
from typing import TypeAlias

Tree: TypeAlias = "Mapping[str, bytes | Tree]"

_FREE, _END, _FAT = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD
_SECTOR, _MINI, _CUTOFF = 512, 64, 4096


class _Chains:
    """Sectors of one size, and which follows which."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.data = bytearray()
        self.following: list[int] = []
        self._known: dict[int, int] = {}
        self._added: list[bytes] = []  # alive, so that none gets the identity of another

    def add(self, data: bytes) -> int:
        """Add bytes; return their first sector. The same object is stored once, as in a bomb."""
        if id(data) in self._known:
            return self._known[id(data)]
        self._added.append(data)
        first, count = len(self.following), -(-len(data) // self.size)
        self.data += data.ljust(count * self.size, b"\0")
        self.following += [*range(first + 1, first + count), _END] if count else []
        self._known[id(data)] = first if count else _END
        return self._known[id(data)]


def write_ole(path: Path, tree: Tree) -> Path:
    """Streams (bytes) and storages (mappings), by name."""
    big, small = _Chains(_SECTOR), _Chains(_MINI)
    entries = [b""]
    child = _siblings(tree, entries, big, small)
    start = big.add(bytes(small.data)) if small.data else _END
    entries[0] = _entry("Root Entry", 5, _FREE, _FREE, child, start, len(small.data))
    listed = b"".join(entries)
    directory = big.add(listed.ljust(-(-len(listed) // _SECTOR) * _SECTOR, b"\0"))
    mini_fat = _table(small.following)
    mini_start = big.add(mini_fat) if mini_fat else _END
    n_fat = 0
    while n_fat * 128 < len(big.following) + n_fat:
        n_fat += 1
    at = len(big.following)
    fat = _table([*big.following, *[_FAT] * n_fat])
    header = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(16) + pack("<HHHHH6x", 62, 3, 0xFFFE, 9, 6)
    header += pack("<IIIII", 0, n_fat, directory, 0, _CUTOFF)
    header += pack("<IIII", mini_start, len(mini_fat) // _SECTOR, _END, 0)
    header += pack("<109I", *[*range(at, at + n_fat), *[_FREE] * (109 - n_fat)])
    path.write_bytes(header + bytes(big.data) + fat)
    return path


def _siblings(tree: Tree, entries: list[bytes], big: _Chains, small: _Chains) -> int:
    def added(names: Sequence[str]) -> int:
        if not names:
            return _FREE
        half = len(names) // 2
        name = names[half]
        number, content = len(entries), tree[name]
        entries.append(b"")
        left, right = added(names[:half]), added(names[half + 1 :])
        if isinstance(content, bytes):
            chains = small if len(content) < _CUTOFF else big
            entries[number] = _entry(name, 2, left, right, _FREE, chains.add(content), len(content))
        else:
            child = _siblings(content, entries, big, small)
            entries[number] = _entry(name, 1, left, right, child, 0, 0)
        return number

    return added(sorted(tree, key=lambda name: (len(name), name.upper())))


def _entry(name: str, kind: int, left: int, right: int, child: int, start: int, size: int) -> bytes:
    wide = name.encode("utf-16-le")
    head = wide.ljust(64, b"\0") + pack("<HBB", len(wide) + 2, kind, 1)
    return head + pack("<III36xIQ", left, right, child, start, size)


def _table(following: Sequence[int]) -> bytes:
    padded = [*following, *[_FREE] * (-len(following) % 128)]
    return pack(f"<{len(padded)}I", *padded)


def outlook(
    subject: str,
    text: str,
    *files: tuple[str, bytes | Tree],
    sent: datetime,
    is_inner: bool = False,
) -> Tree:
    """A mail of Outlook, with files and mails attached to it."""
    tree: dict[str, bytes | Tree] = {
        "__substg1.0_001A001F": "IPM.Note".encode("utf-16-le"),
        "__substg1.0_0037001F": subject.encode("utf-16-le"),
        "__substg1.0_0C1A001F": "Ann".encode("utf-16-le"),
        "__substg1.0_5D01001F": "ann@example.org".encode("utf-16-le"),
        "__substg1.0_0E04001F": "Smith, Bob; Carl (boss)".encode("utf-16-le"),
        "__substg1.0_1000001F": text.encode("utf-16-le"),
    }
    ticks = int((sent.timestamp() + 11_644_473_600) * 10**7)
    header = bytes(24 if is_inner else 32)
    tree["__properties_version1.0"] = header + pack("<HHIQ", 0x40, 0x39, 6, ticks)
    for number, (name, content) in enumerate(files):
        kind = "0102" if isinstance(content, bytes) else "000D"
        tree[f"__attach_version1.0_#{number:08X}"] = {
            "__properties_version1.0": bytes(8),
            "__substg1.0_3707001F": name.encode("utf-16-le"),
            f"__substg1.0_3701{kind}": content,
        }
    return tree

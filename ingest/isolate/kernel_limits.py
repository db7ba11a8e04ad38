"""What the kernel keeps a decoder process from: the network, other processes, other folders.

A seccomp filter and a Landlock ruleset, by system calls. A network namespace would do for the
network too, but containers and several distributions forbid those to ordinary users, and let every
process give up rights of its own.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ingest.isolate import system_calls


class Confinement(NamedTuple):
    """What the kernel of this machine cannot keep a decoder process from."""

    calls: str
    """Why it may make other system calls than `system_calls.ALLOWED`; empty if it may not."""

    files: str
    """Why it may read more than its file's area (`area_of`) and its own libraries; empty if not."""

    landlock: int
    """The version of Landlock in force; 0 if none is."""

    def gaps(self) -> list[str]:
        """What a decoder that was taken over could do here, each with the reason."""
        gaps = [f"read all that this user can read ({self.files})"] if self.files else []
        if self.calls:
            missing = [what for since, what in _WITHOUT_FILTER.items() if self.landlock < since]
            gaps.append(f"{', '.join(missing)} ({self.calls})")
        return gaps


_WITHOUT_FILTER = {
    1: "write files",
    3: "truncate files",
    4: "use TCP",
    5: "control devices",
    6: "signal this user's processes and reach abstract sockets",
    sys.maxsize: "use other sockets, start processes, change modes, owners, times and limits",
}
"""Landlock alone prevents these from a version on, the last ones never."""

_NO_NEW_PRIVILEGES = 38
_CREATE_RULESET, _ADD_RULE, _RESTRICT = 444, 445, 446
_READ_FILE, _READ_FOLDER = 1 << 2, 1 << 3
_FILE_RIGHTS = ((1, 0x1FFE), (2, 1 << 13), (3, 1 << 14), (5, 1 << 15))
"""By the version that knows them; all but to execute, which gives nothing that reading does not."""
_NETWORK_RIGHTS, _SCOPES = 0b11, 0b11

_SYSTEM = (
    *("/usr", "/lib", "/lib64", "/nix/store", "/gnu/store"),
    *("/etc/fonts", "/etc/ld.so.cache", "/etc/localtime", "/etc/mime.types"),
    "/etc/ssl/openssl.cnf",
    *("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system/cpu", "/sys/fs/cgroup"),
    *("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random"),
)
_DEPTHS = {"/home": 3, "/media": 3, "/mnt": 2, "/opt": 2, "/run": 4, "/srv": 2, "/var": 3}
_HIDDEN_DEPTH = 3  # such as ~/.local/share/anymodal


def area_of(path: Path, temporary: Path, home: Path) -> Path:
    """The folder that a decoder of a file may read.

    Mostly wider than the file's own folder, so that one process decodes many files: a folder in the
    user's, or on a disk. In the user's folder itself, a file opens all of it.

    >>> paths = "/home/ann/Photos/2/a.jpg", "/home/ann/a.jpg", "/mnt/disk/b/a.jpg", "/tmp/x/a.jpg"
    >>> [str(area_of(Path(path), Path("/tmp"), Path("/home/ann"))) for path in paths]
    ['/home/ann/Photos', '/home/ann', '/mnt/disk', '/tmp']
    """
    if path.is_relative_to(temporary):
        return temporary
    names = path.parts
    depth = _DEPTHS.get(os.sep + names[1], 1)
    if path.is_relative_to(home) and home != Path("/"):
        is_hidden = path.relative_to(home).parts[0].startswith(".")
        depth = len(home.parts) - 1 + (_HIDDEN_DEPTH if is_hidden else 1)
    return Path(*names[: min(depth + 1, len(names) - 1)])


def confine(area: Path) -> Confinement:
    """Give up rights for good, in this process; what the kernel does not know is left as it is."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        reason = "this kernel lets no process give up rights"
        return Confinement(reason, reason, 0)
    files, landlock = _keep_to([*_readable(), area], libc)
    return Confinement(system_calls.restrict(libc), files, landlock)


def _is_one_thread() -> bool:
    """Whether no library has begun a thread, which would keep its rights to files."""
    return len([*Path("/proc/self/task").iterdir()]) == 1


def _keep_to(readable: Iterable[Path], libc: ctypes.CDLL) -> tuple[str, int]:
    """Read these only, and write nothing; why not, if that cannot be, and Landlock's version."""
    if not _is_one_thread():
        return "a library started a thread as it was imported", 0
    version = libc.syscall(_CREATE_RULESET, None, 0, 1)
    if version < 1:
        return f"this kernel has no Landlock: {os.strerror(ctypes.get_errno())}", 0
    rights = sum(right for since, right in _FILE_RIGHTS if version >= since)
    network = _NETWORK_RIGHTS if version >= 4 else 0
    scopes = _SCOPES if version >= 6 else 0
    handled = struct.pack("QQQ", rights, network, scopes)[: 24 if scopes else 16 if network else 8]
    ruleset = libc.syscall(_CREATE_RULESET, handled, len(handled), 0)
    if ruleset < 0:
        return f"Landlock refuses its rules: {os.strerror(ctypes.get_errno())}", 0
    try:
        for path in readable:
            _allow(path, ruleset, libc)
        if libc.syscall(_RESTRICT, ruleset, 0):
            return f"Landlock refuses its rules: {os.strerror(ctypes.get_errno())}", 0
        return "", version
    finally:
        os.close(ruleset)


def _allow(path: Path, ruleset: int, libc: ctypes.CDLL) -> None:
    with suppress(OSError):  # not on this system
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            rights = _READ_FILE | _READ_FOLDER if path.is_dir() else _READ_FILE
            libc.syscall(_ADD_RULE, ruleset, 1, struct.pack("=Qi", rights, descriptor), 0)
        finally:
            os.close(descriptor)


def _readable() -> Iterator[Path]:
    """What decoders are made of: libraries, fonts, and what the C library looks at."""
    yield from map(Path, (*_SYSTEM, sys.prefix, sys.base_prefix, sysconfig.get_path("purelib")))
    yield from (Path(entry) for entry in sys.path if entry)

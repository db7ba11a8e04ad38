"""What the kernel keeps a decoder process from: the network, other processes, other folders.

A seccomp filter and a Landlock ruleset, by system calls. A network namespace would do for the
network too, but containers and several distributions forbid those to ordinary users, and let every
process give up rights of its own. The filter is thirty instructions; a library for it would bring
libseccomp, which no package of PyPI contains.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class Confinement(NamedTuple):
    """What a decoder process is kept from."""

    network: bool
    """It opens no socket, and looks into no other process."""

    files: bool
    """It reads nothing but its file's area (`area_of`) and its own libraries; it writes nothing."""


class _Machine(NamedTuple):
    """A processor's numbers in Linux."""

    audit: int
    seccomp: int
    refused: tuple[int, ...]


_EVERYWHERE = (425, 434, 438)  # io_uring_setup, which makes sockets; pidfd_open, pidfd_getfd
_MACHINES = {
    # socket, ptrace, process_vm_readv, process_vm_writev, kill, tkill
    "x86_64": _Machine(0xC000003E, 317, (41, 101, 310, 311, 62, 200, *_EVERYWHERE)),
    "aarch64": _Machine(0xC00000B7, 277, (198, 117, 270, 271, 129, 130, *_EVERYWHERE)),
}
_NO_NEW_PRIVILEGES = 38
_SET_FILTER, _ALL_THREADS = 1, 1
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | 13  # with EACCES
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_OTHER_ABI = 0x40000000  # x32: the same calls by other numbers

_CREATE_RULESET, _ADD_RULE, _RESTRICT = 444, 445, 446
_READ_FILE, _READ_FOLDER, _WRITE_FILE = 1 << 2, 1 << 3, 1 << 1
_FILE_RIGHTS = ((1, 0x1FFE), (2, 1 << 13), (3, 1 << 14), (5, 1 << 15))
"""By the version that knows them; all but to execute, which gives nothing that reading does not."""
_NETWORK_RIGHTS, _SCOPES = 0b11, 0b11

_SYSTEM = (
    *("/usr", "/lib", "/lib64", "/nix/store", "/gnu/store"),
    *("/etc/fonts", "/etc/ld.so.cache", "/etc/localtime", "/etc/mime.types"),
    "/etc/ssl/openssl.cnf",
    *("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system/cpu", "/sys/fs/cgroup"),
    *("/dev/zero", "/dev/urandom", "/dev/random"),
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
        return Confinement(network=False, files=False)
    files = _is_one_thread() and _keep_to([*_readable(), area], libc)
    return Confinement(_refuse_calls(libc), files)


def _is_one_thread() -> bool:
    """Whether no library has begun a thread, which would keep its rights to files."""
    return len([*Path("/proc/self/task").iterdir()]) == 1


def _refuse_calls(libc: ctypes.CDLL) -> bool:
    """Have some system calls fail, in all threads."""
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        return False
    tests = [(_AT_LEAST, _OTHER_ABI), *((_EQUAL, number) for number in machine.refused)]
    code = [(_LOAD, 0, 0, 4), (_EQUAL, 0, len(tests) + 2, machine.audit), (_LOAD, 0, 0, 0)]
    code += [(test, len(tests) - n, 0, number) for n, (test, number) in enumerate(tests)]
    code += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _REFUSE)]
    filters = ctypes.create_string_buffer(
        b"".join(struct.pack("HBBI", *instruction) for instruction in code)
    )
    program = struct.pack("HxxxxxxP", len(code), ctypes.addressof(filters))
    return bool(libc.syscall(machine.seccomp, _SET_FILTER, _ALL_THREADS, program) == 0)


def _keep_to(readable: Iterable[Path], libc: ctypes.CDLL) -> bool:
    """Read these only, and write nothing."""
    version = libc.syscall(_CREATE_RULESET, None, 0, 1)
    if version < 1:
        return False
    rights = sum(right for since, right in _FILE_RIGHTS if version >= since)
    network = _NETWORK_RIGHTS if version >= 4 else 0
    scopes = _SCOPES if version >= 6 else 0
    handled = struct.pack("QQQ", rights, network, scopes)[: 24 if scopes else 16 if network else 8]
    ruleset = libc.syscall(_CREATE_RULESET, handled, len(handled), 0)
    if ruleset < 0:
        return False
    try:
        for path in readable:
            _allow(path, _READ_FILE, ruleset, libc)
        _allow(Path(os.devnull), _READ_FILE | _WRITE_FILE, ruleset, libc)
        return bool(libc.syscall(_RESTRICT, ruleset, 0) == 0)
    finally:
        os.close(ruleset)


def _allow(path: Path, right: int, ruleset: int, libc: ctypes.CDLL) -> None:
    with suppress(OSError):  # not on this system
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            rights = right | _READ_FOLDER if path.is_dir() else right
            libc.syscall(_ADD_RULE, ruleset, 1, struct.pack("=Qi", rights, descriptor), 0)
        finally:
            os.close(descriptor)


def _readable() -> Iterator[Path]:
    """What decoders are made of: libraries, fonts, and what the C library looks at."""
    yield from map(Path, (*_SYSTEM, sys.prefix, sys.base_prefix, sysconfig.get_path("purelib")))
    yield from (Path(entry) for entry in sys.path if entry)

"""What a decoder process may ask of the kernel: a list of system calls, as a seccomp filter.

The list was taken by tracing every kind on real files. All else is refused: new processes, sockets,
signals to others, writing, renaming or locking files, their modes, owners, times and attributes,
limits and priorities, tracing, mounts, keys, BPF, io_uring, and what kernels will bring. Calls that
come in harmful and harmless variants are told apart by their arguments; paths are Landlock's.

A library for this would bring libseccomp, which no package of PyPI contains.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeAlias

ALLOWED = {
    "memory of its own": (
        "brk 12 214, mmap 9 222, munmap 11 215, mremap 25 216, mprotect 10 226, madvise 28 233, "
        "mincore 27 232"
    ),
    "files that it has opened": (
        "read 0 63, readv 19 65, pread64 17 67, preadv 295 69, lseek 8 62, fadvise64 221 223, "
        "close 3 57, dup 32 23, dup2 33 -, dup3 292 24, write 1 64, writev 20 66"
    ),
    "files to read, and what is in folders": (
        "fstat 5 80, newfstatat 262 79, stat 4 -, lstat 6 -, statx 332 291, access 21 -, "
        "faccessat 269 48, readlink 89 -, readlinkat 267 78, getcwd 79 17, getdents64 217 61, "
        "statfs 137 43, fstatfs 138 44, open 2 -, openat 257 56"
    ),
    "threads": (
        "clone 56 220, set_robust_list 273 99, rseq 334 293, exit 60 93, exit_group 231 94, "
        "gettid 186 178, sched_getaffinity 204 123, getcpu 309 168, futex 202 98, "
        "sched_yield 24 124, membarrier 324 283"
    ),
    "waiting, and pipes between its threads": (
        "poll 7 -, ppoll 271 73, select 23 -, pselect6 270 72, epoll_create1 291 20, "
        "epoll_ctl 233 21, epoll_wait 232 -, epoll_pwait 281 22, eventfd2 290 19, pipe 22 -, "
        "pipe2 293 59, socketpair 53 199, nanosleep 35 101, clock_nanosleep 230 115, "
        "restart_syscall 219 128"
    ),
    "signals to itself": (
        "rt_sigaction 13 134, rt_sigprocmask 14 135, rt_sigreturn 15 139, sigaltstack 131 132, "
        "tgkill 234 131"
    ),
    "what it is, where, when, and chance": (
        "getpid 39 172, getppid 110 173, getuid 102 174, geteuid 107 175, getgid 104 176, "
        "getegid 108 177, uname 63 160, sysinfo 99 179, getrusage 98 165, getrlimit 97 163, "
        "prlimit64 302 261, times 100 153, time 201 -, gettimeofday 96 169, "
        "clock_gettime 228 113, clock_getres 229 114, getrandom 318 278"
    ),
    "descriptors that programs do not inherit, terminals told from files, names of threads": (
        "fcntl 72 25, ioctl 16 29, prctl 157 167"
    ),
}
"""What for, and each call with its number on x86-64 and on arm64."""


class Machine(NamedTuple):
    """A processor's column in `ALLOWED`, its name among the kernel's, its number of ``seccomp``."""

    column: int
    audit: int
    seccomp: int


class Argument(NamedTuple):
    """Which bits of an argument must have which value."""

    word: int
    """Counts halves of arguments, the low one of each first."""

    mask: int
    value: int


Conditions: TypeAlias = tuple[Argument, ...]

MACHINES = {"x86_64": Machine(1, 0xC000003E, 317), "aarch64": Machine(2, 0xC00000B7, 277)}
_SET_FILTER, _ALL_THREADS = 1, 1
_RETURN_ALLOW, _RETURN_ERROR = 0x7FFF0000, 0x00050000
_LOAD, _AND, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
_NUMBER_AT, _MACHINE_AT, _ARGUMENTS_AT = 0, 4, 16
_FIRST_NEW_CALL = 424
"""From here on, all machines number alike; to libraries, these calls do not exist (``ENOSYS``), and
they use older ones. Among them are clone3, whose arguments no filter can see, io_uring, and x32."""

_ALL = 0xFFFFFFFF
_WRITES = os.O_ACCMODE | os.O_CREAT | os.O_TRUNC
_THREAD = 0x00010F00  # shares memory, folder, descriptors and signal handlers
_THREAD_MAY = 0x007C0000  # set up its own pointers, as C libraries do


def _conditions(pid: int) -> Mapping[str, tuple[Conditions, ...]]:
    """For calls that are harmless in some variants only: what makes each harmless."""
    by_command = {
        "fcntl": (0, 1, 2, 3, 1030),  # copies of descriptors and their flags; no locks, no owners
        "ioctl": (0x5401, 0x5450, 0x5451),  # TCGETS, FIONCLEX, FIOCLEX
    }
    return {
        "open": ((Argument(2, _WRITES, os.O_RDONLY),),),
        "openat": ((Argument(4, _WRITES, os.O_RDONLY),),),
        "clone": ((Argument(0, _ALL & ~_THREAD_MAY, _THREAD),),),
        "socketpair": ((Argument(0, _ALL, 1),),),  # AF_UNIX: a pipe in both directions
        "tgkill": ((Argument(0, _ALL, pid),),),
        "prlimit64": ((Argument(0, _ALL, 0), Argument(4, _ALL, 0), Argument(5, _ALL, 0)),),
        "prctl": ((Argument(0, _ALL, 15),),),  # PR_SET_NAME
        **{
            call: tuple((Argument(2, _ALL, command),) for command in commands)
            for call, commands in by_command.items()
        },
    }


def numbers(machine: Machine) -> dict[str, int]:
    """The number of each allowed call on a machine."""
    calls = (call.split() for group in ALLOWED.values() for call in group.split(", "))
    return {call[0]: int(call[machine.column]) for call in calls if call[machine.column] != "-"}


def assemble(machine: Machine, pid: int) -> bytes:
    """The filter for a process, as instructions of the kernel's packet filters."""
    return b"".join(struct.pack("=HBBI", *code) for code in _instructions(machine, pid))


def _instructions(machine: Machine, pid: int) -> Iterator[tuple[int, int, int, int]]:
    yield _LOAD, 0, 0, _MACHINE_AT
    yield _EQUAL, 1, 0, machine.audit
    yield _RETURN, 0, 0, _RETURN_ERROR | 1  # EPERM
    conditions = _conditions(pid)
    for name, number in numbers(machine).items():
        for needed in conditions.get(name, ((),)):
            yield _LOAD, 0, 0, _NUMBER_AT
            yield _EQUAL, 0, 3 * len(needed) + 1, number
            for n_left, (word, mask, value) in zip(range(len(needed), 0, -1), needed, strict=True):
                yield _LOAD, 0, 0, _ARGUMENTS_AT + 4 * word
                yield _AND, 0, 0, mask
                yield _EQUAL, 0, 3 * n_left - 2, value
            yield _RETURN, 0, 0, _RETURN_ALLOW
    yield _LOAD, 0, 0, _NUMBER_AT
    yield _AT_LEAST, 0, 1, _FIRST_NEW_CALL
    yield _RETURN, 0, 0, _RETURN_ERROR | 38  # ENOSYS
    yield _RETURN, 0, 0, _RETURN_ERROR | 1


def restrict(libc: ctypes.CDLL) -> str:
    """Allow this process nothing else, for good; why not, if the kernel cannot.

    It must have given up new privileges.
    """
    machine = MACHINES.get(platform.machine())
    if machine is None or sys.maxsize < 2**32:
        return f"there is no list of system calls for this Python on {platform.machine()}"
    code = assemble(machine, os.getpid())
    instructions = ctypes.create_string_buffer(code)
    program = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(instructions))
    if libc.syscall(machine.seccomp, _SET_FILTER, _ALL_THREADS, program):
        return f"this kernel has no seccomp filters: {os.strerror(ctypes.get_errno())}"
    return ""

"""What a decoder that was taken over by a file would try: each action would have an effect outside.

`attack` tries them all in the current process. Arguments of what would harm this machine are such
that a kernel that lets the call through refuses it for these, with another error.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import resource
import socket
import subprocess
import termios
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

World: TypeAlias = Mapping[str, Any]
"""``victim``: a process; ``file`` and ``folder``: to change; ``port``, ``unix``: who listens."""

Action: TypeAlias = Callable[[], object]

_REFUSALS = (errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EFBIG)

_COLUMN = {"x86_64": 0, "aarch64": 1}[platform.machine()]
_CALLS = """
clone 56 220, clone3 435 435, execveat 322 281, unshare 272 97, setns 308 268, tkill 200 130,
rt_sigqueueinfo 129 138, rt_tgsigqueueinfo 297 240, tgkill 234 131, pidfd_send_signal 424 424,
pidfd_open 434 434, pidfd_getfd 438 438, ptrace 101 117, process_vm_readv 310 270,
process_vm_writev 311 271, kcmp 312 272, process_madvise 440 440, process_mrelease 448 448,
mount 165 40, umount2 166 39, pivot_root 155 41, open_tree 428 428, fsopen 430 430,
mount_setattr 442 442, bpf 321 280, perf_event_open 298 241, userfaultfd 323 282, add_key 248
217, request_key 249 218, keyctl 250 219, shmget 29 194, semget 64 190, msgget 68 186, mq_open
240 180, syslog 103 116, swapon 167 224, sethostname 170 161, setdomainname 171 162,
settimeofday 164 170, clock_settime 227 112, adjtimex 159 171, init_module 175 105, kexec_load
246 104, reboot 169 142, quotactl 179 60, acct 163 89, ioprio_set 251 30, migrate_pages 256 238,
move_pages 279 239, sched_setattr 314 274, name_to_handle_at 303 264, io_uring_setup 425 425,
fanotify_init 300 262, inotify_init1 294 26, copy_file_range 326 285, splice 275 76, sendmsg 46
211, io_setup 206 0, timer_create 222 107, fchmodat2 452 452, openat2 437 437, setxattrat 463
463, prlimit64 302 261, prctl 157 167, capset 126 91, remap_file_pages 216 234,
open_by_handle_at 304 265
"""
_NUMBERS = {
    name: int(numbers[_COLUMN]) for name, *numbers in (call.split() for call in _CALLS.split(","))
}
_NEW_USERS, _IN_THREAD = 0x10000000, 0x10F00
_F_SETLEASE, _F_NOTIFY, _F_SETSIG, _F_SETPIPE, _F_OFD_SETLK = 1024, 1026, 10, 1031, 37
_SET_FLAGS = 0x40086602  # FS_IOC_SETFLAGS
_SET_TRACER, _SET_CHILD_SUBREAPER = 0x59616D61, 36
_SCHED_BATCH = 3


def attack(world: World) -> dict[str, str]:
    """What became of each action: ``refused``, or what it did."""
    return {name: _outcome(action) for name, action in _actions(world)}


def _outcome(action: Action) -> str:
    try:
        return f"returned {action()!r}"
    except OSError as error:
        return "refused" if error.errno in _REFUSALS else f"failed: {error}"
    except ValueError as error:  # as Python's `resource` says EPERM
        return "refused" if "not allowed" in str(error) else f"failed: {error}"


def call(name: str, *arguments: object) -> int:
    """A system call by its name. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    numbers = [a if isinstance(a, bytes) else ctypes.c_long(a) for a in arguments]  # type: ignore[arg-type]
    result: int = libc.syscall(_NUMBERS[name], *numbers)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")
    return result


def _actions(world: World) -> Iterator[tuple[str, Action]]:
    victim, file, folder = int(world["victim"]), Path(world["file"]), Path(world["folder"])
    yield from _processes(victim)
    yield from _changes(file, folder)
    yield from _descriptors(file, victim)
    yield from _sockets(world)
    yield from _raw_calls(victim, os.fsencode(file))


def _end_child(pid: int) -> int:
    """In the child end, in the parent wait for it."""
    if pid == 0:
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def _processes(victim: int) -> Iterator[tuple[str, Action]]:
    yield "fork", lambda: _end_child(os.fork())
    yield "clone as a process", lambda: _end_child(call("clone", 17, 0, 0, 0, 0))
    yield "execve", lambda: os.execv("/nowhere/at/all", ["all"])
    yield "posix_spawn", lambda: os.posix_spawn("/nowhere/at/all", ["all"], {})
    yield "subprocess", lambda: subprocess.run(["/bin/sh", "-c", "true"], check=False)
    yield "kill", lambda: os.kill(victim, 0)
    yield "kill the parent", lambda: os.kill(os.getppid(), 0)
    yield "kill all", lambda: os.killpg(os.getpgid(victim), 0)
    yield "setpriority", lambda: os.setpriority(os.PRIO_PROCESS, victim, 15)
    yield "sched_setaffinity", lambda: os.sched_setaffinity(victim, {0})
    yield (
        "sched_setscheduler",
        lambda: os.sched_setscheduler(victim, _SCHED_BATCH, os.sched_param(0)),
    )
    yield "prlimit", lambda: resource.prlimit(victim, resource.RLIMIT_NOFILE, (64, 64))
    yield "own limit", lambda: resource.setrlimit(resource.RLIMIT_CPU, (9**9, -1))
    yield "setuid", lambda: os.setuid(os.getuid())
    yield "setgid", lambda: os.setgid(os.getgid())
    yield "setsid", lambda: os.setpgid(0, 0)
    yield "chroot", lambda: os.chroot("/nowhere/at/all")


def _changes(file: Path, folder: Path) -> Iterator[tuple[str, Action]]:
    inner = folder / "inner"
    yield "append", lambda: file.open("ab").close()
    yield "write in place", lambda: os.open(file, os.O_RDWR)
    yield "create", lambda: os.open(folder / "new", os.O_CREAT | os.O_RDONLY)
    yield "truncate by opening", lambda: os.open(file, os.O_TRUNC | os.O_RDONLY)
    yield "unnamed file", lambda: os.open(folder, os.O_TMPFILE | os.O_WRONLY)
    yield "truncate", lambda: os.truncate(file, 1)
    yield "mkdir", lambda: (folder / "made").mkdir()
    yield "rmdir", inner.rmdir
    yield "rename", lambda: (folder / "a").rename(folder / "b")
    yield "link", lambda: os.link(file, folder / "link")
    yield "symlink", lambda: (folder / "symlink").symlink_to(file)
    yield "mkfifo", lambda: os.mkfifo(folder / "fifo")
    yield "unlink", (folder / "c").unlink
    yield "chmod", lambda: file.chmod(0o777)
    yield "chown", lambda: os.chown(file, -1, os.getgid())
    yield "lchown", lambda: os.lchown(file, -1, os.getgid())
    yield "utime", lambda: os.utime(file, (1, 1))
    yield "setxattr", lambda: os.setxattr(file, "user.seen", b"1")
    yield "removexattr", lambda: os.removexattr(file, "user.mark")
    yield "memory of others", lambda: os.open(f"/proc/{os.getppid()}/mem", os.O_RDWR)
    yield (
        "own place in the queue for memory",
        lambda: Path("/proc/self/oom_score_adj").write_text("1"),
    )
    yield "memfd_create", lambda: os.memfd_create("x")
    yield "sync", lambda: _checked(ctypes.CDLL(None, use_errno=True).syncfs, 0)


def _checked(function: Callable[..., int], *arguments: object) -> int:
    result = function(*arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _with(file: Path, use: Callable[[int], object]) -> object:
    """With the file opened to be read, which no filter prevents."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        return use(descriptor)
    finally:
        os.close(descriptor)


def _descriptors(file: Path, victim: int) -> Iterator[tuple[str, Action]]:
    lock = b"\0" * 64
    uses: dict[str, Callable[[int], object]] = {
        "fchmod": lambda fd: os.fchmod(fd, 0o777),
        "fchown": lambda fd: os.fchown(fd, -1, os.getgid()),
        "futimens": lambda fd: os.utime(fd, (1, 1)),
        "fsetxattr": lambda fd: os.setxattr(fd, "user.seen", b"1"),
        "ftruncate": lambda fd: os.ftruncate(fd, 1),
        "fallocate": lambda fd: os.posix_fallocate(fd, 0, 1),
        "flock": lambda fd: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB),
        "record lock": lambda fd: fcntl.fcntl(fd, fcntl.F_SETLK, lock),
        "record lock of the description": lambda fd: fcntl.fcntl(fd, _F_OFD_SETLK, lock),
        "lease": lambda fd: fcntl.fcntl(fd, _F_SETLEASE, fcntl.F_RDLCK),
        "signals of a folder": lambda fd: fcntl.fcntl(fd, _F_NOTIFY, 1),
        "signals to another": lambda fd: fcntl.fcntl(fd, fcntl.F_SETOWN, victim),
        "another signal": lambda fd: fcntl.fcntl(fd, _F_SETSIG, 9),
        "asynchronous": lambda fd: fcntl.fcntl(fd, fcntl.F_SETFL, os.O_ASYNC),
        "flags of a file": lambda fd: fcntl.ioctl(fd, _SET_FLAGS, b"\0" * 8),
        "keys of a terminal": lambda fd: fcntl.ioctl(fd, termios.TIOCSTI, b"x"),
        "sendfile": lambda fd: os.sendfile(fd, fd, 0, 1),
        "copy_file_range": lambda fd: call("copy_file_range", fd, 0, fd, 0, 1, 0),
        "splice": lambda fd: call("splice", fd, 0, fd, 0, 1, 0),
    }
    for name, use in uses.items():
        yield name, partial(_with, file, use)
    yield "size of a pipe", lambda: [fcntl.fcntl(end, _F_SETPIPE, 4096) for end in os.pipe()]


def _sockets(world: World) -> Iterator[tuple[str, Action]]:
    families = {
        "TCP": (socket.AF_INET, socket.SOCK_STREAM),
        "UDP": (socket.AF_INET, socket.SOCK_DGRAM),
        "IPv6": (socket.AF_INET6, socket.SOCK_STREAM),
        "unix socket": (socket.AF_UNIX, socket.SOCK_STREAM),
        "netlink": (socket.AF_NETLINK, socket.SOCK_RAW),
        "raw packets": (socket.AF_PACKET, socket.SOCK_RAW),
        "host of this machine": (socket.AF_VSOCK, socket.SOCK_STREAM),
        "kernel's ciphers": (socket.AF_ALG, socket.SOCK_SEQPACKET),
    }
    for name, family in families.items():
        yield name, lambda family=family: socket.socket(*family).close()  # type: ignore[misc]
    yield "connect", lambda: socket.create_connection(("127.0.0.1", world["port"])).close()
    yield "pair of TCP sockets", lambda: socket.socketpair(socket.AF_INET)
    pairs: dict[str, Callable[[socket.socket], object]] = {
        "connect one of a pair": lambda end: end.connect(world["unix"]),
        "bind one of a pair": lambda end: end.bind(b"\0anymodal-test"),
        "sendto by a pair": lambda end: end.sendto(b"x", world["unix"]),
        "sendmsg by a pair": lambda end: end.sendmsg([b"x"], [], 0, world["unix"]),
        "listen on one of a pair": lambda end: end.listen(),
    }
    for name, use in pairs.items():
        yield name, partial(_by_pair, use)


def _by_pair(use: Callable[[socket.socket], object]) -> object:
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        return use(ends[0])
    finally:
        for end in ends:
            end.close()


def _raw_calls(victim: int, file: bytes) -> Iterator[tuple[str, Action]]:
    """Arguments that no kernel accepts, but for the first ones."""
    info = bytes(128)
    arguments: dict[str, tuple[object, ...]] = {
        "tkill": (victim, 0),
        "tgkill": (victim, victim, 0),
        "rt_sigqueueinfo": (victim, 0, info),
        "rt_tgsigqueueinfo": (victim, victim, 0, info),
        "prlimit64": (0, resource.RLIMIT_NOFILE, b"\xff" * 16, 0),
        "prctl": (_SET_TRACER, victim, 0, 0, 0),
        "clone3": (info, 1),
        "execveat": (-1, b"", 0, 0, 0),
        "setns": (-1, 0),
        "pidfd_open": (victim, 0),
        "pidfd_send_signal": (-1, 0, 0, 0),
        "pidfd_getfd": (-1, 0, 0),
        "ptrace": (0x4206, victim, 0, 0),  # PTRACE_SEIZE
        "process_vm_readv": (victim, 0, 0, 0, 0, 0),
        "process_vm_writev": (victim, 0, 0, 0, 0, 0),
        "kcmp": (victim, victim, 0, 0, 0),
        "process_madvise": (-1, 0, 0, 0, 0),
        "process_mrelease": (-1, 0),
        "mount": (0, 0, 0, 0, 0),
        "umount2": (b"/nowhere/at/all", 0),
        "pivot_root": (b"/nowhere", b"/nowhere"),
        "open_tree": (-1, b"", 0),
        "fsopen": (b"none such", 0),
        "mount_setattr": (-1, b"", 0, 0, 0),
        "bpf": (-1, 0, 0),
        "perf_event_open": (0, 0, 0, -1, 0),
        "userfaultfd": (-1,),
        "io_uring_setup": (0, 0),
        "io_setup": (0, 0),
        "add_key": (b"none such", b"a", 0, 0, 0),
        "request_key": (b"none such", b"a", 0, 0),
        "keyctl": (-1, 0, 0, 0, 0),
        "shmget": (1, 1, 0),
        "semget": (1, 1, 0),
        "msgget": (1, 0),
        "mq_open": (b"none such", 0, 0, 0),
        "syslog": (-1, 0, 0),
        "sethostname": (0, -1),
        "setdomainname": (0, -1),
        "settimeofday": (1, 1),
        "clock_settime": (-1, 0),
        "adjtimex": (0,),
        "swapon": (b"/nowhere/at/all", 0),
        "init_module": (0, 0, 0),
        "kexec_load": (0, 0, 0, -1),
        "reboot": (0, 0, 0, 0),
        "quotactl": (-1, 0, 0, 0),
        "acct": (b"/nowhere/at/all",),
        "capset": (0, 0),
        "ioprio_set": (1, victim, 3 << 13),
        "migrate_pages": (victim, -1, 0, 0),
        "move_pages": (victim, 1, 0, 0, 0, 0),
        "sched_setattr": (victim, 0, 0),
        "name_to_handle_at": (-100, file, 0, 0, 0),
        "open_by_handle_at": (-1, 0, 0),
        "fanotify_init": (-1, 0),
        "inotify_init1": (-1,),
        "timer_create": (-1, 0, 0),
        "remap_file_pages": (0, 0, 0, 0, 0),
        "fchmodat2": (-100, file, 0o777, 0),
        "openat2": (-100, file, 0, 0),
        "setxattrat": (-100, file, 0, 0, 0, 0),
    }
    for name, values in arguments.items():
        yield f"{name} itself", partial(call, name, *values)
    threads = _IN_THREAD | _NEW_USERS
    yield "clone as a thread with users of its own", partial(call, "clone", threads, 0, 0, 0, 0)
    yield "users of its own", partial(call, "unshare", _NEW_USERS)
    yield "adopt children", partial(call, "prctl", _SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    yield "speak on the terminal", _speak


def _speak() -> None:
    """Refused or heard: nobody should hear it."""
    with suppress(OSError):
        os.write(2, b"\x1b]0;taken over\x07")
    raise PermissionError(errno.EPERM, "looked at by who listens")

"""The filter of system calls, run as a kernel would run it, for both processors."""

from __future__ import annotations

import errno
import os
import re
import struct

import pytest

from ingest.isolate.kernel_limits import Confinement
from ingest.isolate.system_calls import MACHINES, Machine, assemble, numbers

PID = 4321
ALLOWED = 0x7FFF0000
THREAD = 0x3D0F00  # as glibc starts one
FORK = 0x1200011
NEW_NETWORK = 0x40000000
HIGH = 1 << 32


def answer(machine: Machine, number: int, *arguments: int, audit: int | None = None) -> int:
    """What the filter says of a call: 0 if it is allowed, else an error number."""
    padded = (*arguments, *(0,) * (6 - len(arguments)))
    data = struct.pack("=IIQ6Q", number, audit or machine.audit, 0, *padded)
    code = list(struct.iter_unpack("=HBBI", assemble(machine, PID)))
    at = accumulator = 0
    while True:
        operation, if_true, if_false, value = code[at]
        at += 1
        if operation == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, value)
        elif operation == 0x54:
            accumulator &= value
        elif operation == 0x15:
            at += if_true if accumulator == value else if_false
        elif operation == 0x35:
            at += if_true if accumulator >= value else if_false
        else:
            assert operation == 0x06
            return 0 if value == ALLOWED else value & 0xFFFF


@pytest.fixture(params=MACHINES)
def machine(request: pytest.FixtureRequest) -> Machine:
    return MACHINES[request.param]


def test_what_is_not_listed_is_refused(machine: Machine) -> None:
    listed = numbers(machine)
    assert len(set(listed.values())) == len(listed)
    for number in set(range(1000)) - set(listed.values()):
        assert answer(machine, number) == (errno.EPERM if number < 424 else errno.ENOSYS)


def test_calls_of_other_processors_are_refused(machine: Machine) -> None:
    for number in range(500):
        assert answer(machine, number, audit=0x40000003) == errno.EPERM  # of 32 bits
        assert answer(machine, number | 0x40000000) == errno.ENOSYS  # x32


@pytest.mark.parametrize(
    ("call", "arguments", "is_allowed"),
    [
        ("read", (9, 9, 9), True),
        ("openat", (-100 & 0xFFFFFFFF, 1, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), True),
        *(
            ("openat", (0, 1, flags), False)
            for flags in (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC, 3, os.O_TMPFILE | 1)
        ),
        ("clone", (THREAD,), True),
        *(("clone", (flags,), False) for flags in (FORK, 17, 0, THREAD | NEW_NETWORK)),
        *(("fcntl", (3, command), True) for command in (0, 1, 2, 3, 1030)),
        *(("fcntl", (3, command), False) for command in (4, 5, 6, 7, 8, 10, 37, 1024, 1026, 1031)),
        ("ioctl", (1, 0x5401), True),
        *(("ioctl", (1, command), False) for command in (0x5412, 0x40086602, 0x5452, 0x5421)),
        ("prctl", (15, 9), True),
        *(("prctl", (option, 9), False) for option in (4, 22, 36, 0x59616D61)),
        ("tgkill", (PID, 9, 6), True),
        *(("tgkill", (pid, 9, 6), False) for pid in (0, 1, PID - 1, -1 & 0xFFFFFFFF)),
        ("prlimit64", (0, 7, 0, 99), True),
        *(
            ("prlimit64", arguments, False)
            for arguments in ((0, 7, 99, 0), (0, 7, HIGH, 0), (PID, 7, 0, 9))
        ),
        ("socketpair", (1, 1, 0, 9), True),
        ("socketpair", (2, 1, 0, 9), False),
    ],
)
def test_arguments_decide(
    machine: Machine, call: str, arguments: tuple[int, ...], is_allowed: bool
) -> None:
    assert answer(machine, numbers(machine)[call], *arguments) == (0 if is_allowed else errno.EPERM)


@pytest.mark.parametrize(
    ("confinement", "possible", "impossible"),
    [
        (Confinement("", "", 7), "", "read write truncate TCP signal sockets"),
        (Confinement("", "no Landlock", 0), "read", "write truncate TCP signal sockets"),
        (Confinement("no filter", "", 7), "sockets times", "read write truncate TCP signal"),
        (Confinement("no filter", "", 5), "signal sockets", "read write truncate TCP devices"),
        (Confinement("no filter", "", 2), "truncate TCP signal", "read write"),
        (Confinement("no filter", "no", 0), "read write truncate TCP signal sockets", ""),
    ],
)
def test_gaps_name_what_is_possible(
    confinement: Confinement, possible: str, impossible: str
) -> None:
    told = " ".join(confinement.gaps())
    words = set(re.findall(r"\w+", told))
    assert words >= set(possible.split())
    assert words.isdisjoint(impossible.split())
    assert all(reason in told for reason in (confinement.calls, confinement.files))

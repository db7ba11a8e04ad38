"""Signals wake a thread at once, whatever the main thread holds or does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
_WAITS = """
import signal
from threading import Event
from encoder.system.signals import on_signals
stop, n_seen = Event(), [0]
def seen(number):
    n_seen[0] += 1
    stop.set()
    if number == signal.SIGTERM:
        finished.set()
finished = Event()
on_signals(seen, signal.SIGINT, signal.SIGTERM, at_once=AT_ONCE)
print("ready", flush=True)
while not finished.wait(0.0001):  # holds the event's lock again and again
    stop.set()
print("ended", flush=True)
"""
_COMPUTES = """
import hashlib, signal
from workers.cli.ingest import stop_on
stop = stop_on(signal.SIGINT)
print("ready", flush=True)
hashlib.pbkdf2_hmac("sha256", b"a", b"b", 2_000_000_000)  # runs no handlers of Python
"""


@pytest.fixture
def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def started(program: str, environment: dict[str, str]) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("at_once", [False, True])
def test_signals_never_wait_for_what_the_main_thread_holds(
    environment: dict[str, str], at_once: bool
) -> None:
    process = started(_WAITS.replace("AT_ONCE", str(at_once)), environment)
    for _ in range(500):
        process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=60)[0] == "ended\n"
    assert process.returncode == 0


def test_a_second_signal_ends_what_computes(environment: dict[str, str]) -> None:
    with started(_COMPUTES, environment) as process, ExitStack() as stack:
        stack.callback(process.kill)
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):  # it finishes what is under way
            process.wait(1)
        process.send_signal(signal.SIGINT)
        process.wait(60)
        assert process.returncode == 128 + signal.SIGINT

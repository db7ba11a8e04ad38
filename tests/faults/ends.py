"""End each command that runs long by signals, alone and by group, as it starts and while it works.

``python -m tests.faults.ends --trials 24``: each has to be gone within 5 s of SIGTERM, with all
that it started; with ``--order``, also if it is killed, or told twice. Exits with 1 if not.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import cycle, islice, product
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
from PIL import Image

from tests.support.valkey import valkey_server
from tests.support.waiting import wait_for

ANYMODAL = Path(sys.executable).with_name("anymodal")
WITHIN_S = 5.0
_N_FILES, _N_CLIENTS = 200, 12
ORDERS: dict[str, Sequence[signal.Signals]] = {
    "SIGTERM": [signal.SIGTERM],
    "SIGTERM twice": [signal.SIGTERM, signal.SIGTERM],
    "SIGINT, SIGTERM": [signal.SIGINT, signal.SIGTERM],
    "SIGKILL": [signal.SIGKILL],
}


@dataclass
class Trial:
    """A command in a folder of its own, by which all that it started is known."""

    folder: Path
    process: subprocess.Popen[bytes]

    def said(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def running(self) -> list[str]:
        """What still runs; everything that a command starts inherits its folder."""
        left = []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if (entry / "cwd").readlink() == self.folder:
                    words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    left.append(f"{entry.name} {words[:120]}")
        return left

    def end(self, numbers: Sequence[signal.Signals], *, by_group: bool) -> None:
        send = os.killpg if by_group else os.kill
        for number in numbers:
            with suppress(ProcessLookupError):
                send(self.process.pid, number)
            time.sleep(0.2 * (len(numbers) > 1))


def searching(trial: Trial) -> None:
    """Ask a server so much that it starts a process for each further core, and upload files."""
    (address,) = wait_for(lambda: re.findall(r"Listening at (http:\S+)", trial.said()), 60)
    files = [("file", (f"{n}.txt", f"Note {n}.".encode() * 500)) for n in range(100)]

    def ask(number: int) -> None:
        with httpx.Client(base_url=address, timeout=60) as client, suppress(httpx.HTTPError):
            for n in range(10_000):
                client.post("/v1/search", json={"query": f"question {number} of {n}"})

    httpx.post(f"{address}/v1/assets", files=files, timeout=60)
    threads = ThreadPoolExecutor(_N_CLIENTS)
    for number in range(_N_CLIENTS):
        threads.submit(ask, number)
    threads.shutdown(wait=False)
    time.sleep(6)


def decoding(trial: Trial) -> None:
    """Wait until it has begun to decode."""
    wait_for(lambda: any("isolate.child" in words for words in trial.running()), 60)
    time.sleep(1)


def settled(_: Trial) -> None:
    time.sleep(6)


@contextmanager
def commands(data: Path) -> Iterator[dict[str, tuple[list[str], Callable[[Trial], None]]]]:
    """The words of each command, and what to wait for until it works."""
    for n in range(_N_FILES):
        Image.effect_noise((900, 700), 60 + n % 40).save(data / f"{n}.png")
    with valkey_server() as valkey:
        broker = f"redis://{valkey.host}:{valkey.port}/0"
        yield {
            "serve": (["serve", "--port", "0"], searching),
            "worker": (["worker", "--broker", broker, "--concurrency", "2"], settled),
            "watch": (["watch", str(data)], decoding),
            "ingest": (["ingest", str(data)], decoding),
            "mcp": (["mcp"], settled),
            "mcp --http": (["mcp", "--http", "--port", "0"], settled),
        }


def trial(
    words: Sequence[str],
    working: Callable[[Trial], None] | None,
    order: Sequence[signal.Signals],
    *,
    by_group: bool,
    chance: random.Random,
) -> tuple[float, list[str], str]:
    """End a command; how long it and all that it started took, what is left, and what it said."""
    with TemporaryDirectory(prefix="anymodal-ends-") as name:
        folder = Path(name).resolve()
        environment = {**os.environ, "ANYMODAL_DATA": str(folder / "data")}
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [str(ANYMODAL), *words],
                cwd=folder,
                env=environment,
                stdin=subprocess.PIPE,  # open, as that of an agent
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        ending = Trial(folder, process)
        try:
            if working is None:
                time.sleep(chance.uniform(0.05, 4))
            else:
                working(ending)
            before = ending.running()
            ending.end(order, by_group=by_group)
            began_s = time.monotonic()
            while ending.running() and time.monotonic() - began_s < 3 * WITHIN_S:
                process.poll()  # takes leave of the process
                time.sleep(0.02)
            took_s = time.monotonic() - began_s
            said = f"{len(before)} processes, {ending.said()[-200:]!r}"
            return took_s, ending.running(), said
        finally:
            for left in ending.running():
                with suppress(ProcessLookupError):
                    os.kill(int(left.split()[0]), signal.SIGKILL)
            process.wait(30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--order", choices=ORDERS, default="SIGTERM")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance, n_late = random.Random(options.seed), 0
    with TemporaryDirectory(prefix="anymodal-ends-files-") as data, commands(Path(data)) as known:
        ways = cycle(product((True, False), (True, False), known))
        for is_working, by_group, name in islice(ways, options.trials):
            words, working = known[name]
            took_s, left, said = trial(
                words, working if is_working else None, ORDERS[options.order],
                by_group=by_group, chance=chance,
            )  # fmt: skip
            is_late = bool(left) or took_s > WITHIN_S
            n_late += is_late
            how = f"{'working' if is_working else 'early'}, {'group' if by_group else 'alone'}"
            sys.stdout.write(f"{name} ({how}): {took_s:.1f} s; left {left}; {said}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{options.trials - n_late} of {options.trials} ended in {WITHIN_S:g} s\n")
    sys.exit(bool(n_late))


if __name__ == "__main__":
    main()

"""Two operations at once on the same assets, in two processes: as if one had come after the other.

``python -m tests.faults.pairs --trials N`` runs random pairs on a folder of two processes; ``--on
threads`` in two threads of one process, and ``--on http://HOST:PORT`` on a Milvus server. A trial
ends with the whole state: files, rows, segments with their vectors, words, uploads, the model, and
what `anymodal check` finds. It has to be as one of the two orders leaves it. Locks are by asset and
an operation on several is no transaction, so that this holds for each of `GROUPS`, which share no
asset: one may be as after the first operation and another as after the second.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

OPERATIONS = (
    *("ingest", "ingest_copy", "ingest_tagged", "upload", "upload_tagged", "patch", "delete"),
    *("delete_folder", "prune", "move", "edit", "import_export", "adopt"),
    *("reindex", "rollback", "recalibrate"),
)
STARTS = ("new", "stored", "gone")
GROUPS = {"text b": ("B", "b.txt"), "texts a and e": ("A", "E", "a.txt"), "store": ("",)}
"""By the ends of their parts' names."""
AT_ONCE = 6
"""How often a pair is tried before the next, since both orders take as long as two trials."""
_DELAYS_S = (0.0, 0.0, 0.005, 0.02, 0.05, 0.1)
_BUSY_S = 300.0


class Actor:
    """A process that does what it is told (`tests.faults.acting`), several things at once."""

    def __init__(self, folder: Path, store: str) -> None:
        env = {**os.environ, "ANYMODAL_STORE": store, "ANYMODAL_DATA": str(folder / "data")}
        env |= {"ANYMODAL_CALIBRATE": "false", "ANYMODAL_ENCODER__MODEL": "bundle:english"}
        env |= {"ANYMODAL_INGEST__ISOLATE": "false"}  # a child for each folder takes long to start
        words = [sys.executable, "-m", "tests.faults.acting", str(folder)]
        self._process = subprocess.Popen(
            words, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._numbers = count()
        self._answers: dict[int, Any] = {}
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()
        self.result(self.begin("ready"))

    def begin(self, operation: str, **options: Any) -> int:
        """Begin an operation; its number."""
        assert self._process.stdin
        number = next(self._numbers)
        self._process.stdin.write(json.dumps([number, operation, options]) + "\n")
        self._process.stdin.flush()
        return number

    def result(self, number: int) -> Any:
        """What it returned. Raises if it failed."""
        deadline_s = time.monotonic() + _BUSY_S
        while number not in self._answers:
            assert self._process.poll() is None, "the process has ended"
            assert time.monotonic() < deadline_s, "an operation takes too long"
            time.sleep(0.001)
        answer = self._answers.pop(number)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["result"]

    def close(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(_BUSY_S)
        self._reader.join()
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            number, answer = json.loads(line)
            self._answers[number] = answer


class Pairs:
    """Runs trials; keeps what a pair leads to in order.

    Args:
        actors: two, or twice the same.
    """

    def __init__(self, actors: Sequence[Actor]) -> None:
        self._actors = actors
        self._serial: dict[tuple[str, ...], Any] = {}

    def in_order(self, start: str, *steps: str) -> Any:
        """The state after these, one after the other; a step is what `steps_of` names."""
        key = (start, *steps)
        if key not in self._serial:
            first, second = self._actors
            first.result(first.begin("setup", start=start))
            second.result(second.begin("ready"))
            for step in steps:
                first.result(begin_step(first, step))
            self._serial[key] = first.result(first.begin("state"))
        return self._serial[key]

    def trial(self, start: str, one: str, other: str, delay_s: float) -> dict[str, Any]:
        """What is after both at once as after no order: by group, its values, and in each order."""
        both = steps_of(one), steps_of(other)
        expected = [self.in_order(start, *a, *b) for a, b in (both, both[::-1])]
        first, second = self._actors
        first.result(first.begin("setup", start=start))
        second.result(second.begin("ready"))
        wrong: dict[str, Any] = {}

        def do(actor: Actor, name: str) -> None:
            try:
                for step in steps_of(name):
                    actor.result(begin_step(actor, step))
            except RuntimeError as error:
                wrong[f"error of {name}"] = str(error)

        threads = [Thread(target=do, args=pair) for pair in ((first, one), (second, other))]
        threads[0].start()
        time.sleep(delay_s)
        threads[1].start()
        for thread in threads:
            thread.join()
        states = [first.result(first.begin("state")), *expected]
        if not differences(states):
            return wrong
        # A user may change files between the two steps of another.
        for order in orders(*both):
            states.append(self.in_order(start, *order))
        return wrong | differences(states)


def steps_of(name: str) -> list[str]:
    """An operation that begins with a change of files has two steps.

    >>> steps_of("edit"), steps_of("patch")
    (['files edit', 'edit'], ['patch'])
    """
    return [f"files {name}", name] if name in ("edit", "move", "prune") else [name]


def begin_step(actor: Actor, step: str) -> int:
    if step.startswith("files "):
        return actor.begin("change_files", name=step.removeprefix("files "))
    return actor.begin("act", name=step)


def orders(some: Sequence[str], others: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """All orders that keep that of each.

    >>> list(orders("ab", "c"))
    [('a', 'b', 'c'), ('a', 'c', 'b'), ('c', 'a', 'b')]
    """
    if not (some and others):
        yield (*some, *others)
        return
    for rest in orders(some[1:], others):
        yield (some[0], *rest)
    for rest in orders(some, others[1:]):
        yield (others[0], *rest)


def differences(states: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the first has as none of the others, by group."""
    wrong = {}
    for group in GROUPS:
        parts = [{part: of[part] for part in of if group_of(part) == group} for of in states]
        if parts[0] not in parts[1:]:
            names = dict.fromkeys(name for of in parts for name in of)
            values = {name: [of.get(name) for of in parts] for name in names}
            wrong[group] = {
                name: of for name, of in values.items() if any(one != of[0] for one in of)
            }
    return wrong


def group_of(part: str) -> str:
    """
    >>> group_of("at files/library/b.txt"), group_of("model")
    ('text b', 'store')
    """
    return next(group for group, ends in GROUPS.items() if part.endswith(ends))


@contextmanager
def actors_on(where: str, folder: Path) -> Iterator[list[Actor]]:
    """Two actors on a store: ``folder``, ``threads`` (one actor, for both) or a server's URI."""
    store = where if where.startswith("http") else str(folder / "store")
    actors: list[Actor] = []
    try:
        actors.append(Actor(folder, store))
        actors.append(actors[0] if where == "threads" else Actor(folder, store))
        yield actors
    finally:
        for actor in dict.fromkeys(actors):
            actor.close()


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--on", default="folder", help="folder, threads, or http://HOST:PORT")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--operations", default=",".join(OPERATIONS))
    options = parser.parse_args()
    operations = options.operations.split(",")
    chosen = random.Random(options.seed)
    failed = Counter[tuple[str, ...]]()
    begun_s = time.monotonic()
    with (
        TemporaryDirectory(prefix="anymodal-pairs-") as folder,
        actors_on(options.on, Path(folder).resolve()) as actors,
    ):
        pairs = Pairs(actors)
        for number in range(1, options.trials + 1):
            if number % AT_ONCE == 1:
                start, one, other = chosen.choice(STARTS), *chosen.choices(operations, k=2)
            one, other = chosen.sample([one, other], 2)
            if found := pairs.trial(start, one, other, chosen.choice(_DELAYS_S)):
                failed[start, one, other] += 1
                say(f"{start} {one} {other}: {json.dumps(found)}")
            if number % 50 == 0 or number == options.trials:
                took_s = time.monotonic() - begun_s
                say(f"{number} trials, {failed.total()} differ, {took_s:.0f} s")
    for pair, n in failed.most_common():
        say(f"{n} {' '.join(pair)}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()

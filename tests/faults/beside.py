"""What else uses a store while operations on it are killed: two readers and a second writer.

Each is a process of its own, forked before the store is opened. Nothing they do may fail, but for
`StoreMovedError`, after which they open the store again, as its message says.
"""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from encoder.system.environment import begin
from encoder.types import TEXT, Item
from search.errors import StoreMovedError
from tests.faults import tiny_worker
from tests.faults.brute import World
from workers.config import current_settings
from workers.pipeline.commit_rows import remove
from workers.serving.resources import Resources

_N_FILES = 3
_TURNS = ("write", "read", "read")
_PAUSE_S = 0.05


class Beside:
    """Readers and a writer, which work in the blocks of `running`.

    Args:
        folder: a new one, for the writer's files and for what they all say.
    """

    def __init__(self, folder: Path) -> None:
        self._media = folder / "media"
        self._media.mkdir(parents=True)
        for number in range(_N_FILES):
            (self._media / f"{number}.txt").write_text(f"Beside all others, note {number}. " * 40)
        self._errors, self._turns, self._lasting = (
            folder / name for name in ("errors", "turns", "lasting")
        )
        self._own_turns = [folder / f"{number}.turn" for number in range(len(_TURNS))]
        for path in (self._errors, self._turns, *self._own_turns):
            path.touch()
        self.expect([])

    @contextmanager
    def running(self) -> Iterator[None]:
        """A block beside which they work."""
        fork = multiprocessing.get_context("fork")
        pairs = zip(_TURNS, self._own_turns, strict=True)
        processes = [fork.Process(target=self._work, args=pair) for pair in pairs]
        for process in processes:
            process.start()
        try:
            yield
        finally:
            for process in processes:
                process.kill()
                process.join()

    @contextmanager
    def silent(self) -> Iterator[None]:
        """A block in which they have nothing open, so that files can be copied."""
        with ExitStack() as stack:
            for path in self._own_turns:
                fcntl.flock(stack.enter_context(path.open()), fcntl.LOCK_EX)
            yield

    def expect(self, asset_ids: Iterable[str]) -> None:
        """Have each reader find these assets, until others are named."""
        new = self._lasting.with_suffix(".new")
        new.write_text(json.dumps([time.monotonic_ns(), sorted(asset_ids)]))
        new.replace(self._lasting)

    def others(self, world: World) -> World:
        """What is not the writer's."""
        own = str(self._media)
        return {key: at for key, at in world.items() if not any(x.startswith(own) for x in at[0])}

    def errors(self) -> list[str]:
        """What went wrong since the last call."""
        said = self._errors.read_text()
        os.truncate(self._errors, 0)
        return [f"beside: {one}" for one in said.split("\0") if one]

    def n_turns(self) -> Mapping[str, int]:
        """How often each has worked so far."""
        names = self._turns.read_text().split()
        return {name: names.count(name) for name in sorted(set(names))}

    def _work(self, turn: str, own_turn: Path) -> None:
        tiny_worker.load_by(tiny_worker.named_encoder)
        tiny_worker.SECONDS_PER_ITEM = 0.002
        begin({})
        while True:
            with own_turn.open() as file, suppress(StoreMovedError):
                fcntl.flock(file, fcntl.LOCK_EX)
                try:
                    with closing(Resources(current_settings())) as held:
                        getattr(self, turn)(held)
                    _append(self._turns, f"{turn}\n")
                except StoreMovedError:
                    raise
                except Exception:  # noqa: BLE001 (whoever judges the trial is told)
                    _append(self._errors, traceback.format_exc()[-2000:] + "\0")
            time.sleep(_PAUSE_S)

    def write(self, held: Resources) -> None:
        """Ingest, and remove a file again."""
        failures = held.pipeline().run([str(self._media)]).failures
        assert all(one.error == StoreMovedError.__name__ for one in failures), failures
        remove(held.store(), str(self._media / "0.txt"), held.uploads)

    def read(self, held: Resources) -> None:
        """List and search."""
        store = held.existing_store()
        expected = json.loads(self._lasting.read_text())
        stored = {row.asset_id for row in store.scan()}
        store.search(held.encoder().encode_items([Item(TEXT, "note")]), [TEXT], 10)
        store.lexical("note", 10)
        if expected == json.loads(self._lasting.read_text()):
            lost = set(expected[1]) - stored
            assert not lost, lost


def _append(path: Path, text: str) -> None:
    """In one call, so that lines of several processes stay whole."""
    with path.open("ab", buffering=0) as file:
        file.write(text.encode())

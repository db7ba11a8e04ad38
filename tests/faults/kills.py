"""kill -9 in the middle of each operation on a store; what must be true then, and once repeated.

Each trial is checked by brute force, and then by `anymodal store check`, which must agree.
``python -m tests.faults.kills --trials 300`` kills operations on a store in a folder, with
``--server`` on the genuine server, and exits with 1 if anything is lost, doubled or orphaned;
``--beside`` has two readers and a second writer work meanwhile (`tests.faults.beside`). Every
trial goes on with the store of the one before. Half of the kills come at a random time, half before
or after a random step that changes what is stored.
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from blake3 import blake3

from encoder.system.environment import begin
from search.lexical.index import WordIndex
from search.store.folder import database, vector_files
from search.store.folder.database import Database
from search.store.milvus.link import MilvusLink
from search.store.open import is_on_server
from search.store.space_record import FolderRecord, SearchedSpace
from search.store.stored_spaces import space_record
from tests.faults import brute, tiny_worker
from tests.faults.beside import Beside
from tests.faults.brute import World
from tests.faults.tiny_worker import named_encoder
from tests.support.milvus_server import MilvusServer
from workers.cli import anymodal
from workers.cli.ingest import ingest as ingest_command
from workers.config import current_settings
from workers.serving.resources import Resources

_MODELS = ("bundle:english", "bundle:multilingual")
_CHANGES = {
    *("insert", "upsert", "delete", "flush", "create_collection", "create_alias", "alter_alias"),
    *("alter_collection_properties", "drop_collection"),
}
_IN_FOLDERS = (
    (vector_files, "put"),
    (database, "write_counter"),
    (FolderRecord, "write"),
    (WordIndex, "commit"),
)
"""Besides commits."""
_N_FILES = 14
_WARM = {"encoder", "ingest", "search", "workers"}
"""Packages whose modules are imported before a fork, with what they import later."""
_LATER = ("pymilvus", "pyarrow.parquet", "pandas")
_LONGEST_S = 120.0
_TRIES = 5


@dataclass
class Killed:
    """A trial."""

    operation: str
    where: str
    was_killed: bool
    wrong: list[str] = field(default_factory=list)


class Library:
    """A store, the folder that it is of, and what it must hold.

    Args:
        folder: for everything.
        store: where it is.
        seed: of all that is random.
        beside: who else uses it, if anybody does.
    """

    def __init__(self, folder: Path, store: str, seed: int, beside: Beside | None = None) -> None:
        self.store = store
        self.beside = beside
        self.media = folder / "media"
        self.media.mkdir()
        self.export = folder / "export"
        self.queries = folder / "queries.txt"
        self.queries.write_text("note\n")
        self.chance = random.Random(seed)
        self.n_made = 0
        self.world: World = {}
        self.usual: dict[str, tuple[float, int]] = {}
        """How long an operation takes, and how many changes of the store it makes."""
        settings = {
            "STORE": store,
            "DATA": str(folder / "data"),
            "ENCODER__MODEL": _MODELS[0],
            "INGEST__ISOLATE": "false",
            "CALIBRATE": "false",
            "SHARD_FILES": "5",
        }
        os.environ.update({f"ANYMODAL_{name}": value for name, value in settings.items()})
        for _ in range(_N_FILES):
            self.make_file()

    def alone(self) -> AbstractContextManager[None]:
        """A block in which nobody writes beside."""
        return self.beside.silent() if self.beside else nullcontext()

    @property
    def current(self) -> SearchedSpace:
        """The store's record."""
        with space_record(self.store) as record:
            current = record.read()
        assert current
        return current

    def make_file(self) -> Path:
        """A new text of one to four segments."""
        self.n_made += 1
        path = self.media / f"{self.n_made:05}.txt"
        words = f"Note {self.n_made} of {self.chance.random()}. " * 60
        path.write_text("\n\n".join([words] * self.chance.randint(1, 4)))
        return path

    def files(self, n: int) -> list[Path]:
        """Some files."""
        return self.chance.sample(sorted(self.media.iterdir()), n)

    def on_disk(self) -> World:
        """What the store must hold after an ingest; tags of contents that were there stay."""
        places: dict[str, set[str]] = {}
        for path in sorted(self.media.iterdir()):
            places.setdefault(_id_of(path), set()).add(str(path))
        return {
            asset_id: (frozenset(at), self.world.get(asset_id, (0, frozenset()))[1])
            for asset_id, at in places.items()
        }


Work = Callable[[], object]
"""What the killed process does."""


def _command(*words: object) -> Work:
    def work() -> None:
        try:
            anymodal.main(list(map(str, words)), standalone_mode=False)
        except SystemExit as ended:
            if ended.code:
                raise RuntimeError(f"{words} exited with {ended.code}") from ended

    return work


def ingest(library: Library) -> tuple[Work, World]:
    """Ingest new files, changed ones and copies."""
    made = [library.make_file() for _ in range(6)]
    shutil.copy(made[0], library.media / f"copy-{made[0].name}")
    changed = library.files(1)[0]
    changed.write_text(changed.read_text() + "\n\nIt was changed.")
    return _command("ingest", library.media, "--json"), library.on_disk()


def delete(library: Library) -> tuple[Work, World]:
    """Delete files from the store, and from the disk, so that they stay away."""
    files = library.files(3)
    for path in files:
        path.unlink()
    gone = set(map(str, files))
    after = {
        asset_id: (places - gone, tags)
        for asset_id, (places, tags) in library.world.items()
        if places - gone
    }
    return _command("delete", *files, "--json"), after


def prune(library: Library) -> tuple[Work, World]:
    """Remove what has lost its files."""
    for path in library.files(3):
        path.unlink()
    (option,) = (one for one in ingest_command.params if one.name == "prune")
    word = "--prune" if getattr(option, "is_flag", False) else "--prune=all"
    return _command("ingest", library.media, word, "--json"), library.on_disk()


def retag(library: Library) -> tuple[Work, World]:
    """What PATCH does."""
    ids = library.chance.sample(sorted(library.world), 3)
    tag = f"tag{library.chance.randrange(10**6)}"
    after = {**library.world, **{x: (library.world[x][0], frozenset({tag})) for x in ids}}

    def work() -> None:
        with closing(Resources(current_settings())) as held:
            store = held.existing_store()
            for asset_id in ids:
                row = store.assets([asset_id])[asset_id]
                store.write([replace(row, metadata={**row.metadata, "tags": [tag]})], [])

    return work, after


def reindex(library: Library) -> tuple[Work, World]:
    """Move to the other model."""

    def look_up() -> str:
        with closing(Resources(current_settings())) as held:
            return named_encoder(held).model

    model = next(one for one in _MODELS if one != told(look_up))
    words = ("--model", model, "--precision", "none", "--queries", library.queries)
    return _command("store", "reindex", *words, "--share", 1, "--json"), library.world


def import_(library: Library) -> tuple[Work, World]:
    """Import what was exported and deleted."""
    shutil.rmtree(library.export, ignore_errors=True)
    ids = library.chance.sample(sorted(library.world), 3)
    run(_command("store", "export", library.export, "--json"))
    run(_command("delete", *ids, "--json"))
    whole = library.world
    library.world = {key: asset for key, asset in whole.items() if key not in ids}
    return _command("store", "import", library.export, "--json"), whole


OPERATIONS: dict[str, Callable[[Library], tuple[Work, World]]] = {
    "ingest": ingest,
    "delete": delete,
    "prune": prune,
    "patch": retag,
    "reindex": reindex,
    "import": import_,
}


def run(work: Work, kill_s: float | None = None, kill_at: tuple[int, bool] | None = None) -> int:
    """Do work in a process of its own; return how many changes it made, or -1 if it was killed.

    Args:
        work: what to do.
        kill_s: after how many seconds to kill it.
        kill_at: before (False) or after (True) which change of the store.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        _work_and_exit(work, writing, kill_at)
    os.close(writing)
    started_s = time.monotonic()
    limit_s = _LONGEST_S if kill_s is None else kill_s
    status = None
    with os.fdopen(reading, "rb") as pipe:
        while status is None:
            pid, code = os.waitpid(child, os.WNOHANG)
            if pid:
                status = code
            elif time.monotonic() - started_s > limit_s:
                os.kill(child, signal.SIGKILL)
                status = os.waitpid(child, 0)[1]
                assert kill_s is not None, f"the operation hangs:\n{pipe.read().decode()}"
            else:
                time.sleep(0.002)
        said = pipe.read().decode()
    if os.WIFSIGNALED(status):
        return -1
    assert os.waitstatus_to_exitcode(status) == 0, said
    n_changes, modules = json.loads(said)
    for name in (*modules, *_LATER):  # the next child has them from the start
        if name not in sys.modules:
            importlib.import_module(name)
    return int(n_changes)


def _work_and_exit(work: Work, pipe: int, kill_at: tuple[int, bool] | None) -> None:
    """In the child: count the changes of the store, and end with them."""
    n_changes, call, connection = 0, MilvusLink.call, Database._connection

    @contextmanager
    def change() -> Iterator[None]:
        nonlocal n_changes
        n_changes += 1
        number = n_changes
        if kill_at == (number, False):
            os.kill(os.getpid(), signal.SIGKILL)
        yield
        if kill_at == (number, True):
            os.kill(os.getpid(), signal.SIGKILL)

    def called(link: MilvusLink, method: str, *args: Any, **options: Any) -> Any:
        with change() if method in _CHANGES else nullcontext():
            return call(link, method, *args, **options)

    @contextmanager
    def connected(database: Database, begin: str) -> Iterator[Any]:
        with change() if "IMMEDIATE" in begin else nullcontext(), connection(database, begin) as db:
            yield db

    def changing(made: Callable[..., Any]) -> Callable[..., Any]:
        def changed(*args: Any, **options: Any) -> Any:
            with change():
                return made(*args, **options)

        return changed

    code = 1
    try:
        printed = tempfile.TemporaryFile()  # noqa: SIM115 (it ends with the process)
        os.dup2(printed.fileno(), 1)
        MilvusLink.call = called  # type: ignore[method-assign]
        Database._connection = connected  # type: ignore[assignment]
        for owner, name in _IN_FOLDERS:
            setattr(owner, name, changing(getattr(owner, name)))
        tiny_worker.load_by(named_encoder)
        tiny_worker.SECONDS_PER_ITEM = 0.002
        begin({})
        faulthandler.dump_traceback_later(0.95 * _LONGEST_S, file=pipe)
        work()
        faulthandler.cancel_dump_traceback_later()
        ours = [name for name in sys.modules if name.partition(".")[0] in _WARM]
        os.write(pipe, json.dumps([n_changes, ours]).encode())
        code = 0
    except BaseException:  # noqa: BLE001 (the parent is told)
        sys.stdout.flush()
        printed.seek(0)
        os.write(pipe, traceback.format_exc().encode()[-4000:] + printed.read()[-4000:])
    finally:
        os._exit(code)


def told(ask: Callable[[], Any]) -> Any:
    """What a question to the store answers, as JSON, from a process of its own.

    This one forks, and gRPC's threads and locks do not survive that: it never opens a store.
    """
    with tempfile.TemporaryDirectory() as name:
        answer = Path(name) / "answer.json"
        run(lambda: answer.write_text(json.dumps(ask())))
        return json.loads(answer.read_text())


def look(library: Library, before: World, after: World) -> list[str]:
    """What is wrong with the space that is searched."""

    def wrong() -> list[str]:
        space = library.current.space
        if is_on_server(library.store):
            rows = brute.read_server(library.store, space)
        else:
            with brute.copied(Path(library.store)) as copy:
                rows = brute.read_folder(copy, space)
        world = library.beside.others(rows.world) if library.beside else rows.world
        return brute.faults_of_record(rows) + brute.faults_of_world(world, before, after)

    return list(told(wrong))


def open_once() -> None:
    """What whoever comes next does."""
    with closing(Resources(current_settings())) as held:
        store = held.store()
        store.check_writable()
        assert store.count() >= 0


def trial(library: Library, operation: str) -> Killed:
    """One operation, killed, looked at, repeated, looked at."""
    chance, beside = library.chance, library.beside
    if beside:
        beside.expect([])
    work, after = OPERATIONS[operation](library)
    if beside:
        beside.expect(library.world.keys() & after.keys())
    begun_s = time.monotonic()
    if operation not in library.usual:  # the first is not killed, to learn how long it takes
        n_changes = run(work)
        library.usual[operation] = (time.monotonic() - begun_s, n_changes)
        library.world = after
        with library.alone():
            return Killed(operation, "", False, look(library, after, after))
    usual_s, usual_n = library.usual[operation]
    if chance.random() < 0.5:
        kill_s = chance.uniform(0.1, 1.0) * usual_s
        where, was = f"after {kill_s:.2f} s", run(work, kill_s=kill_s)
    else:
        kill_at = (chance.randint(1, max(usual_n, 1)), chance.random() < 0.5)
        where = f"{'after' if kill_at[1] else 'before'} change {kill_at[0]}"
        was = run(work, kill_at=kill_at)
    killed = Killed(operation, where, was < 0)
    before, library.world = library.world, after
    run(open_once)
    with library.alone():
        killed.wrong += [f"killed: {x}" for x in look(library, before, after)]
    if said := _repeated(work):
        killed.wrong.append(f"repeated: {said[-600:]}")
    with library.alone():
        wrong = look(library, after, after)
        try:
            run(_command("store", "check", "--json"))
        except AssertionError as error:
            wrong += [] if wrong else [f"only `store check` finds something: {str(error)[-600:]}"]
        else:
            wrong += ["`store check` finds nothing"] if wrong else []
    killed.wrong += [f"repeated: {one}" for one in wrong]
    killed.wrong += beside.errors() if beside else []
    return killed


def _repeated(work: Work) -> str:
    """Do it until the store answers in time, as on a busy machine it may not; what went wrong."""
    said = ""
    for _ in range(_TRIES):
        try:
            run(work)
        except AssertionError as error:
            said = str(error)
            if "StoreUnavailableError" not in said:
                return said
        else:
            return ""
    return said


def play(library: Library, n_trials: int, names: list[str]) -> list[Killed]:
    """Trials of all operations in turn on one store."""
    trials = []
    for number in range(n_trials + len(names)):
        killed = trial(library, names[number % len(names)])
        trials.append(killed)
        if killed.wrong:
            sys.stdout.write(f"{number} {killed}\n")
            sys.stdout.flush()
        elif number % 25 == 24:
            sys.stdout.write(f"{number + 1} trials\n")
            sys.stdout.flush()
    return trials


def main(words: list[str] | None = None) -> int:
    """Print what was wrong, and a table; return how many trials were not clean."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--server", action="store_true", help="on the genuine Milvus server")
    parser.add_argument("--beside", action="store_true", help="two readers and a second writer")
    parser.add_argument("--operations", default=",".join(OPERATIONS))
    options = parser.parse_args(words)
    names = options.operations.split(",")
    with tempfile.TemporaryDirectory(prefix="kills-") as name:
        folder = Path(name)
        beside = Beside(folder / "beside") if options.beside else None
        with MilvusServer(folder / "milvus") if options.server else nullcontext() as server:
            store = server.uri if server else str(folder / "store")
            library = Library(folder, store, options.seed, beside)
            work, library.world = ingest(library)
            run(work)
            with beside.running() if beside else nullcontext():
                trials = play(library, options.trials, names)
        if beside:
            sys.stdout.write(f"turns beside: {beside.n_turns()}\n")
    sys.stdout.write("| operation | trials | killed | not clean |\n| --- | --- | --- | --- |\n")
    for operation in names:
        of = [one for one in trials if one.operation == operation]
        cells = (operation, len(of), sum(x.was_killed for x in of), sum(bool(x.wrong) for x in of))
        sys.stdout.write(f"| {' | '.join(map(str, cells))} |\n")
    return sum(bool(one.wrong) for one in trials)


def _id_of(path: Path) -> str:
    return blake3(path.read_bytes()).hexdigest(length=16)


if __name__ == "__main__":
    sys.exit(min(main(), 1))

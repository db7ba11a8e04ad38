"""Care for a library in random order; a model in memory says what a person must still have of it.

``python -m tests.faults.care --walks 1000`` makes walks of random steps with a store in a folder
that has two lanes: people tag, copy, move, delete and bring back files, vectors are damaged, and
all that cares for a store runs. After each step every tag, title and location has to be there, and
at the end of a walk, once all is repaired and ingested, every content has to be found. Exits with 1
if not.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from encoder.config import EncoderConfig
from encoder.errors import AnymodalError, InputError
from encoder.models.spec import DEFAULT_MODEL
from ingest.config import IngestConfig
from search.store.checking import DAMAGED_ROWS, INCOMPLETE
from search.store.folder.store import FolderStore
from search.store.locks import exclusive
from search.store.milvus.store import MilvusStore
from search.store.space_record import SearchedSpace
from search.store.stored_spaces import drop_former
from tests.faults import tiny_worker
from tests.faults.counting import content_id
from workers.config import Settings
from workers.library.backup import back_up, folder_of
from workers.library.check import checked
from workers.library.portable import Imported, Manifest, export_store, import_store, open_export
from workers.library.reindex import Moved, ReindexPlan, move
from workers.pipeline.commit_rows import remove
from workers.serving.resources import Resources

MODELS = (
    "bundle:english,image=hf:tiny/one",
    "bundle:english,image=hf:tiny/two",
    "bundle:multilingual,image=hf:tiny/one",
    "bundle:english",
)


def quiet(_done: int, _all: int) -> None:
    pass


@dataclass
class Known:
    """What a person knows of an asset."""

    given: dict[str, Any]
    places: set[str]
    is_gone: bool = False


@dataclass
class Library:
    """A folder of files, the store that is of it, and what it must hold."""

    folder: Path
    store_uri: str
    known: dict[str, Known] = field(default_factory=dict)
    exported: dict[str, Known] = field(default_factory=dict)
    exported_unread: set[str] = field(default_factory=set)
    exported_from: SearchedSpace | None = None
    unread: set[str] = field(default_factory=set)
    """What was given up with its tags, for the next ingest to read."""
    damaged: set[str] = field(default_factory=set)
    n_made: int = 0

    def __post_init__(self) -> None:
        self.media, self.exports = self.folder / "media", self.folder / "export"
        (self.media / "sub").mkdir(parents=True)
        for _ in range(3):
            self.add_text()
            self.add_photo()
        photo, *_ = self.media.glob("*.png")
        shutil.copy(photo, self.media / "sub" / "copy.png")
        with self.held(MODELS[0]) as held:
            self._ingest(held)

    # Files

    def add_text(self) -> Path:
        self.n_made += 1
        path = self.media / f"{self.n_made}.txt"
        words = f"Note {self.n_made} of the ferry. " * 40
        path.write_text("\n\n".join([words] * 3))
        return path

    def add_photo(self) -> Path:
        self.n_made += 1
        path = self.media / f"{self.n_made}.png"
        pixels = np.random.default_rng(self.n_made).integers(0, 255, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(path)
        return path

    def files(self) -> dict[str, str]:
        """The content at each path."""
        paths = sorted(path for path in self.media.rglob("*") if path.is_file())
        return {str(path): content_id(path.read_bytes()) for path in paths}

    # The store

    @contextmanager
    def held(self, model: str = DEFAULT_MODEL) -> Iterator[Resources]:
        """What a process opens, which ends with the block."""
        settings = Settings(
            store=self.store_uri,
            encoder=EncoderConfig(model=model),
            ingest=IngestConfig(isolate=False),
            calibrate=False,
        )
        with closing(Resources(settings)) as held:
            yield held

    def give(self, asset_id: str, **given: Any) -> None:
        """What `PATCH` does."""
        with self.held() as held:
            store = held.store()
            with exclusive(store, [asset_id]):
                row = store.assets([asset_id])[asset_id]
                store.write([replace(row, metadata={**row.metadata, **given})], [])
        self.known[asset_id].given |= given

    def ingest(self, **options: Any) -> None:
        with self.held() as held:
            self._ingest(held, **options)

    def _ingest(self, held: Resources, **options: Any) -> None:
        report = held.pipeline().run([str(self.media)], **options)
        assert not report.failures, report.failures
        files = self.files()
        for asset_id, known in list(self.known.items()):
            alive = {path for path, content in files.items() if content == asset_id}
            left = known.places if known.is_gone else known.places - files.keys()
            known.is_gone, known.places = not alive, alive or left
            is_pruned = known.is_gone and options.get("prune") == "all"
            if is_pruned or not known.places:
                del self.known[asset_id]
        for path, asset_id in files.items():
            self.known.setdefault(asset_id, Known({}, set())).places.add(path)
        self.unread -= {*files.values()}

    def delete(self, asset_id: str) -> None:
        with self.held() as held:
            remove(held.store(), asset_id)
        del self.known[asset_id]

    # Damage

    def damage(self, asset_id: str) -> None:
        """Flip bits of a vector; on Milvus, lose a row."""
        with self.held() as held:
            store = held.store()
            if (row := next(iter(store.embeddings(asset_id)), None)) is None:
                return  # gone since a move to another model
            if isinstance(store, FolderStore):
                vector = row.embedding.tobytes()
                for path in store._folder.glob("vectors/*.rows"):
                    data = bytearray(path.read_bytes())
                    at = data.find(vector)
                    while at >= 0:
                        data[at] ^= 1
                        at = data.find(vector, at + 1)
                    path.write_bytes(data)
            else:
                assert isinstance(store, MilvusStore)
                space = store.lanes.space(row.modality).fingerprint
                segments = store._segments[space]
                store._rows.delete(segments, segments.key, [row.key])
        self.damaged.add(asset_id)

    # Care

    def check(self, *, repair: bool = False) -> dict[str, Any]:
        with self.held() as held:
            result = checked(held.recorded_store(), held.uploads, quiet, repair=repair)
        if repair:
            assert not result.get("left"), result
            kinds = {x["kind"]: x["examples"] for x in result["differences"]}
            self.unread |= {*kinds.get(INCOMPLETE, ()), *kinds.get(DAMAGED_ROWS, ())}
            self.damaged.clear()
        return result

    def export(self) -> None:
        shutil.rmtree(self.exports, ignore_errors=True)
        with self.held() as held:
            about = Manifest.of(held.encoder())
            export_store(held.existing_store(), self.exports, about, quiet)
            self.exported_from = held.current()
        self.exported, self.exported_unread = deepcopy(self.known), {*self.unread}

    def import_(self) -> Imported:
        """Import what was last exported, perhaps long ago; of what is stored that is newer."""
        with self.held() as held:
            told = import_store(held.store(), self.exports, open_export(self.exports), quiet)
        at = {place for known in self.known.values() if not known.is_gone for place in known.places}
        for asset_id, exported in deepcopy(self.exported).items():
            known = self.known.get(asset_id)
            others = at - (known.places if known else set())
            free = exported.places - others
            if known is None:
                is_gone = exported.is_gone or not free
                places = exported.places if is_gone else free
                self.known[asset_id] = Known(exported.given, places, is_gone)
                self.unread |= {asset_id} & self.exported_unread
                continue
            exported.given.pop("title", None)  # a file's own title may stand there by now
            known.given = {**exported.given, **known.given}
            if not (known.is_gone or exported.is_gone):
                known.places |= free
            if asset_id not in self.exported_unread:
                self.unread.discard(asset_id)
        return told

    def move(self, **plan: Any) -> Moved:
        with self.held() as held:
            fixed = ReindexPlan(share=1.0, queries=["ferry"], precision="none")
            moved = move(held, replace(fixed, **plan))
        if moved.switched:  # it read what had been damaged, too
            self.unread.clear()
        return moved

    def drop_former(self) -> None:
        drop_former(self.store_uri)

    def backup(self) -> None:
        """Go on with a copy."""
        copy = self.folder / f"copy{time.monotonic_ns()}"
        with self.held() as held:
            back_up(folder_of(self.store_uri), held.recorded_store(), copy)
        self.store_uri = str(copy)

    # What must be

    def lost(self) -> list[str]:
        """What a person gave and does not have any more."""
        with self.held() as held:
            rows = {row.asset_id: row for row in held.recorded_store().scan()}
        lost = [f"{asset_id} has no row" for asset_id in self.known.keys() - rows.keys()]
        lost += [f"{asset_id} is back" for asset_id in rows.keys() - self.known.keys()]
        for asset_id in rows.keys() & self.known.keys():
            row, known = rows[asset_id], self.known[asset_id]
            given = {name: row.metadata.get(name) for name in known.given}
            if given != known.given:
                lost.append(f"{asset_id} has {given}, not {known.given}")
            if known.places - set(row.locations):
                lost.append(f"{asset_id} is at {list(row.locations)}, not {known.places}")
            if row.is_gone != known.is_gone:
                lost.append(f"{asset_id} gone: {row.is_gone}")
            if asset_id in self.unread and row.n_segments:
                lost.append(f"{asset_id} counts {row.n_segments} though it was damaged")
        return lost

    def unfound(self) -> list[str]:
        """What is not found in its lane by its own vectors though its file is there."""
        wrong = []
        with self.held() as held:
            store = held.store()
            for asset_id, known in self.known.items():
                if known.is_gone:
                    continue
                rows = store.embeddings(asset_id)
                if not rows:
                    wrong.append(f"{asset_id} has no segments")
                for row in rows:
                    hits = store.search(row.embedding[None], [row.modality], 3)[0]
                    if asset_id not in {hit.asset_id for hit in hits}:
                        wrong.append(f"{asset_id} is not found")
        return wrong


class Walk:
    """Random steps with a library."""

    def __init__(self, library: Library, seed: int) -> None:
        self.library, self.chance = library, random.Random(seed)
        self.taken: list[str] = []
        for asset_id in sorted(library.known):
            library.give(asset_id, tags=["first"], title="First")
        library.export()

    STEPS = (
        *(
            "give",
            "give",
            "give",
            "give",
            "add",
            "copy",
            "move_file",
            "lose",
            "bring_back",
            "reuse_name",
        ),
        *("ingest", "ingest", "ingest", "prune", "prune_all", "delete", "damage", "check"),
        *("repair", "export", "import_", "import_", "import_", "reindex", "reindex", "rollback"),
        *("reindex_half", "drop_former", "backup"),
    )

    def run(self, n_steps: int) -> list[str]:
        """Take steps until something is lost; what was, after which steps."""
        for step in self.chance.choices(self.STEPS, k=n_steps):
            self.taken.append(step)
            try:
                getattr(self, step)()
                lost = self.library.lost()
            except AnymodalError as error:
                lost = [f"{type(error).__name__}: {error}"]
            if lost:
                return lost
        return self._at_the_end()

    def _at_the_end(self) -> list[str]:
        self.taken.append("all is repaired and ingested")
        self.repair()
        self.ingest()
        wrong = self.library.lost() + self.library.unfound()
        return wrong + [str(x) for x in self.library.check()["differences"]]

    def _asset(self) -> str:
        return self.chance.choice(sorted(self.library.known))

    def _file(self) -> Path:
        return Path(self.chance.choice(sorted(self.library.files())))

    def _is_whole(self) -> bool:
        """Damaged vectors stop what reads them; the errors name the remedy."""
        if self.library.damaged:
            self.repair()
        return not self.library.damaged

    def give(self) -> None:
        n = self.chance.randrange(10**6)
        what = {"tags": [f"tag{n}"], "title": f"Title {n}", "owner": f"owner{n}"}
        name = self.chance.choice(sorted(what))
        self.library.give(self._asset(), **{name: what[name]})

    def add(self) -> None:
        self.chance.choice([self.library.add_text, self.library.add_photo])()

    def copy(self) -> None:
        file = self._file()
        self.library.n_made += 1
        shutil.copy(file, file.with_name(f"{self.library.n_made}{file.suffix}"))

    def move_file(self) -> None:
        file = self._file()
        self.library.n_made += 1
        file.rename(self.library.media / "sub" / f"{self.library.n_made}{file.suffix}")

    def lose(self) -> None:
        """A file goes elsewhere, where no ingest sees it."""
        if len(self.library.files()) > 3:
            file = self._file()
            (self.library.folder / "away").mkdir(exist_ok=True)
            file.rename(self.library.folder / "away" / file.name)

    def bring_back(self) -> None:
        away = sorted((self.library.folder / "away").glob("*"))
        if away:
            file = self.chance.choice(away)
            self.library.n_made += 1
            file.rename(self.library.media / f"{self.library.n_made}{file.suffix}")

    def reuse_name(self) -> None:
        """Another file takes the name of one that is gone."""
        gone = [known.places for known in self.library.known.values() if known.is_gone]
        free = sorted({Path(place) for places in gone for place in places})
        if free and not (path := self.chance.choice(free)).exists():
            made = self.library.add_photo() if path.suffix == ".png" else self.library.add_text()
            made.rename(path)

    def ingest(self) -> None:
        if self._is_whole():
            self.library.ingest()

    def prune(self) -> None:
        if self._is_whole():
            self.library.ingest(prune=True)

    def prune_all(self) -> None:
        if self._is_whole():
            self.library.ingest(prune="all")

    def delete(self) -> None:
        if len(self.library.known) > 3:
            self.library.delete(self._asset())

    def damage(self) -> None:
        whole = sorted(self.library.known.keys() - self.library.unread - self.library.damaged)
        self.library.damage(self.chance.choice(whole))

    def check(self) -> None:
        self.library.check()

    def repair(self) -> None:
        self.library.check(repair=True)

    def export(self) -> None:
        if self._is_whole():
            self.library.export()

    def import_(self) -> None:
        with self.library.held() as held:
            current = held.current()
        exported_from = self.library.exported_from
        assert current
        if exported_from and exported_from.is_like(current) and self._is_whole():
            self.library.import_()

    def reindex(self) -> None:
        if self._is_whole():
            self.library.move(model=self.chance.choice(MODELS), leave_behind=True)

    def reindex_half(self) -> None:
        if self._is_whole():
            self.library.move(model=self.chance.choice(MODELS), switch=False)

    def rollback(self) -> None:
        with suppress(InputError):  # there is no former model
            if self._is_whole():
                self.library.move(rollback=True)

    def drop_former(self) -> None:
        with suppress(InputError):
            self.library.drop_former()

    def backup(self) -> None:
        self.library.backup()


def walk(seed: int, n_steps: int) -> tuple[list[str], list[str]]:
    """What a walk lost, and its steps."""
    with TemporaryDirectory(prefix="anymodal-care-") as name:
        taken = Walk(Library(Path(name), f"{name}/store"), seed)
        return taken.run(n_steps), taken.taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--walks", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    tiny_worker.load_by(tiny_worker.named_encoder)
    tiny_worker.SECONDS_PER_ITEM = 0
    n_failed, n_steps, begun_s = 0, 0, time.monotonic()
    with TemporaryDirectory(prefix="anymodal-care-data-") as data:
        os.environ["ANYMODAL_DATA"] = data
        for number in range(options.walks):
            wrong, taken = walk(options.seed + number, options.steps)
            n_steps += len(taken)
            n_failed += bool(wrong)
            if wrong:
                sys.stdout.write(f"seed {options.seed + number}, {taken}: {wrong}\n")
            if number % 50 == 49 or number == options.walks - 1:
                took_s = time.monotonic() - begun_s
                sys.stdout.write(f"{number + 1} walks, {n_steps} steps, {took_s:.0f} s: ")
                sys.stdout.write(f"{n_failed} lost something\n")
            sys.stdout.flush()
    sys.exit(bool(n_failed))


if __name__ == "__main__":
    main()

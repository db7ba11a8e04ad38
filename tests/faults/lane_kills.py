"""kill -9 while one lane of a store changes; all lanes are searched meanwhile, and nothing is lost.

``python -m tests.faults.lane_kills --segments 20000 --kills 10`` kills moves of a store in a folder
from photos of one model to photos of another, to none of their own, and back; with ``--server`` on
the genuine server. Between kills files come and go. After each kill every asset is searched by each
of its segments, and `anymodal store check` must find nothing. Exits with 1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from PIL import Image

from encoder.errors import AnymodalError
from encoder.system.batched import in_batches
from encoder.types import AUDIO, IMAGE, TEXT, Modality
from search.store.base import VectorStore
from search.store.schema import segment_id
from tests.faults import kills, tiny_worker
from tests.faults.counting import content_id
from tests.faults.kills import run as run_once
from tests.faults.tiny_worker import named_encoder
from tests.support.milvus_server import MilvusServer
from workers.config import current_settings
from workers.library.check import checked
from workers.library.reindex import ReindexPlan, move
from workers.serving.resources import Resources

BESIDE = "bundle:english,audio=hf:tiny/sounds"
MODELS = (f"{BESIDE},image=hf:tiny/one", f"{BESIDE},image=hf:tiny/two", BESIDE)
_TEXTS_PER_FILE = 20
kills._LONGEST_S = 1800.0


def run(work: Callable[[], object], **options: Any) -> int:
    """See `tests.faults.kills.run`; again while a reader mends what a kill has left."""
    while True:
        try:
            return run_once(work, **options)
        except AssertionError as error:
            if "StoreBusyError" not in str(error):
                raise


class Library:
    """A store of photos, sounds and long texts, the segments it must hold, and trials with it."""

    def __init__(self, folder: Path, store: str, n_segments: int, seed: int) -> None:
        self.folder, self.chance = folder, random.Random(seed)
        self.media = folder / "media"
        self.media.mkdir()
        self.made = 0
        for _ in range(n_segments // 5):
            self.make_photo()
        for number in range(n_segments // 10):
            samples = np.random.default_rng(number).normal(0, 0.1, 4000)
            soundfile.write(self.media / f"{number}.wav", samples, 16_000)
        for number in range(n_segments * 7 // 10 // _TEXTS_PER_FILE):
            words = (f"Note {number}.{part} of {self.chance.random()}. " for part in range(2000))
            text = "".join(words)[: 600 * _TEXTS_PER_FILE]
            (self.media / f"{number}.txt").write_text(text)
        settings = {
            "STORE": store,
            "DATA": str(folder / "data"),
            "ENCODER__MODEL": "bundle:default",
            "INGEST__ISOLATE": "false",
            "CALIBRATE": "false",
        }
        os.environ.update({f"ANYMODAL_{name}": value for name, value in settings.items()})

    def make_photo(self) -> Path:
        self.made += 1
        pixels = np.random.default_rng(self.made).integers(0, 255, (8, 8, 3), np.uint8)
        path = self.media / f"{self.made:06}.png"
        Image.fromarray(pixels).save(path)
        return path

    def fill(self) -> None:
        os.environ["ANYMODAL_ENCODER__MODEL"] = MODELS[0]
        run(lambda: _in_resources(self._ingest))
        os.environ["ANYMODAL_ENCODER__MODEL"] = "bundle:default"

    def change(self) -> None:
        """Some photos come, some go, some move."""
        photos = self.chance.sample(sorted(self.media.glob("*.png")), 4)
        for path in photos[:2]:
            path.unlink()
        for path in photos[2:]:
            path.rename(path.with_name(f"m{path.name}"))
        for _ in range(3):
            self.make_photo()
        run(lambda: _in_resources(lambda held: self._ingest(held, prune="all")))

    def _ingest(self, held: Resources, prune: Any = False) -> None:
        report = held.pipeline().run([str(self.media)], prune=prune)
        assert not report.failures, report.failures[:3]

    def expected(self) -> dict[str, Modality]:
        """The assets on the disk, and of what their segments are."""
        kinds = {".png": IMAGE, ".wav": AUDIO, ".txt": TEXT}
        return {content_id(p.read_bytes()): kinds[p.suffix] for p in self.media.iterdir()}

    def wrong(self) -> list[str]:
        """What is lost or left over, and what `store check` says."""

        def look() -> list[str]:
            with closing(Resources(current_settings())) as held:
                return [*self._wrong(held)]

        return list(kills.told(look))

    def _wrong(self, held: Resources) -> Iterator[str]:
        store, wanted = held.existing_store(), self.expected()
        rows = {row.asset_id: row for row in store.scan()}
        yield from (f"lost {asset_id}" for asset_id in wanted.keys() - rows.keys())
        yield from (f"left over {asset_id}" for asset_id in rows.keys() - wanted.keys())
        for ids in in_batches(sorted(wanted.keys() & rows.keys()), 200):
            counts: dict[Modality, dict[str, int]] = {}
            for asset_id in ids:
                n = rows[asset_id].n_segments
                modality = wanted[asset_id]
                if not n or (n > 1 and modality != TEXT):
                    yield f"{asset_id} of {modality} has {n} segments"
                counts.setdefault(modality, {})[asset_id] = n
            for modality, n_of in counts.items():
                yield from _not_found(held, store, modality, n_of)
        proof = checked(store, held.uploads, lambda *_: None)
        yield from map(str, proof["differences"])


def _not_found(
    held: Resources, store: VectorStore, modality: Modality, n_of: Mapping[str, int]
) -> Iterator[str]:
    """The segments that are not stored in the lane's space, or not found by their own vectors."""
    fingerprint = held.encoder().lane(modality).space.fingerprint
    keys = {
        segment_id(asset_id, modality, index, fingerprint): asset_id
        for asset_id, n in n_of.items()
        for index in range(n)
    }
    vectors = store.vectors(list(keys))
    yield from (f"{modality} of {keys[key]} is missing" for key in keys.keys() - vectors.keys())
    for some in in_batches(list(vectors), 500):
        found = store.search(np.stack([vectors[key] for key in some]), [modality], 2)
        for key, hits in zip(some, found, strict=True):
            if key not in {hit.segment_id for hit in hits}:
                yield f"{modality} {key} of {keys[key]} is not found"


def _in_resources(work: Callable[[Resources], object]) -> None:
    with closing(Resources(current_settings())) as held:
        work(held)


def _search_until_told(library: Library, told: Path, result: Path) -> None:
    """Search assets that stay, as processes of their own do, one after the other."""
    tiny_worker.load_by(named_encoder)
    stay = {path: content_id(path.read_bytes()) for path in library.media.glob("*.wav")}
    texts = {path: content_id(path.read_bytes()) for path in library.media.glob("*.txt")}
    chance, n_asked, wrong, waits_s = random.Random(1), 0, list[str](), list[float]()
    while not told.exists():
        try:
            with closing(Resources(current_settings())) as held:
                store = held.existing_store()
                photos = [row for row in store.scan() if row.media_type == "image/png"]
                ids = [(chance.choice(photos).asset_id, IMAGE) for _ in range(20)]
                ids += [(chance.choice(list(stay.values())), AUDIO) for _ in range(10)]
                ids += [(chance.choice(list(texts.values())), TEXT) for _ in range(10)]
                for asset_id, modality in ids:
                    begun_s = time.monotonic()
                    if modality == IMAGE and not store.assets([asset_id]):
                        continue  # deleted meanwhile
                    wrong += _not_found(held, store, modality, {asset_id: 1})
                    waits_s.append(time.monotonic() - begun_s)
                    n_asked += 1
        except AnymodalError as error:
            wrong.append(f"{type(error).__name__}: {error}")
        time.sleep(0.2)
    slowest_s = max(waits_s, default=0.0)
    result.write_text(json.dumps([n_asked, wrong, slowest_s]))


def _move(model: str) -> None:
    def work(held: Resources) -> None:
        current = held.current()
        assert current
        plan = ReindexPlan(model=model, queries=["note"], share=1.0)
        moved = move(held, plan)
        assert moved.switched, moved
        assert not moved.copied.failures, moved.copied.failures[:3]

    _in_resources(work)


def play(library: Library, n_kills: int) -> list[str]:
    """Kill so often; return what was wrong."""
    library.fill()
    wrong = [f"filled: {x}" for x in library.wrong()]
    told, result = library.folder / "told", library.folder / "searched.json"
    searching = os.fork()
    if not searching:
        try:
            _search_until_told(library, told, result)
        finally:
            os._exit(0)
    usual_s, usual_n, number, n_killed, at = 0.0, 0, 0, 0, 0
    try:
        while n_killed < n_kills:
            at = (at + 1) % len(MODELS)
            is_whole = True
            while True:  # until it has moved
                begun_s = time.monotonic()
                options: dict[str, Any] = {}
                if usual_s and library.chance.random() < 0.6:
                    options["kill_s"] = library.chance.uniform(0.2, 0.9) * usual_s
                elif usual_s:
                    change = library.chance.randint(1, max(usual_n, 1))
                    options["kill_at"] = (change, library.chance.random() < 0.5)
                model = MODELS[at]
                try:
                    was = run(lambda model=model: _move(model), **options)  # type: ignore[misc]
                except AssertionError as error:
                    if "other than the store's own" not in str(error):
                        raise
                    was = 0  # it was killed after the switch
                took_s = time.monotonic() - begun_s
                if was > 0 and is_whole:  # else the rest of one that was killed
                    usual_s, usual_n = took_s, was
                is_whole = False
                number += 1
                n_killed += was < 0
                found = [f"{number}: {x}" for x in library.wrong()]
                wrong += found
                sys.stdout.write(
                    f"{number} to {MODELS[at][len(BESIDE) :] or 'none'} {options} "
                    f"{'killed' if was < 0 else 'moved'} in {took_s:.1f} s: {len(found)} wrong\n"
                )
                sys.stdout.flush()
                library.change()
                if was >= 0 or n_killed >= 2 * n_kills:
                    break
    finally:
        told.write_text("")
        os.waitpid(searching, 0)
    n_asked, not_found, slowest_s = json.loads(result.read_text())
    sys.stdout.write(
        f"{n_killed} killed; {n_asked} searches meanwhile, {len(not_found)} wrong, the slowest "
        f"{slowest_s:.2f} s\n"
    )
    return wrong + not_found


def main(words: list[str] | None = None) -> int:
    """Print each trial; return how much was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--segments", type=int, default=200)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--server", action="store_true", help="on the genuine Milvus server")
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="lane-kills-") as name:
        folder = Path(name)
        if options.server:
            with MilvusServer(folder / "milvus") as server:
                library = Library(folder, server.uri, options.segments, options.seed)
                wrong = play(library, options.kills)
        else:
            library = Library(folder, str(folder / "store"), options.segments, options.seed)
            wrong = play(library, options.kills)
    sys.stdout.write("\n".join([*wrong[:20], f"{len(wrong)} wrong\n"]))
    return len(wrong)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(bool(main()))

"""Any name that a disk or an archive can hold: ingest, search, info, delete and prune agree."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

import pytest

from encoder import MultiModalEncoder
from encoder.types import TEXT, Item
from ingest.config import IngestConfig
from ingest.location import Location
from search import Query, SearchEngine
from search.filters import Compare, Operator
from search.store.open import open_store
from search.types import Prune
from workers.cli.listing import described
from workers.pipeline.commit_rows import remove
from workers.pipeline.ingest_pipeline import IngestPipeline
from workers.pipeline.reports import IngestReport

pytestmark = pytest.mark.slow

NAMES = (
    *("Party!/dance.txt", "Party!/more!/a.txt", "!/a.txt", "a!.txt", "mail!/", "a.zip!/b.zip!/c"),
    *("a#b.txt", "a%2Fb.txt", "100%.txt", "a%00b.txt", "a?b*.txt", "[a-z].txt", "{a,b}.txt"),
    *("a\nb.txt", "a\rb.txt", "a\tb.txt", "a\x01b.txt", "a\x7fb.txt", "a\x85b.txt", "a\u2028b.txt"),
    *("caf\u00e9.txt", "cafe\u0301.txt", "\u202etxt.a", "\U0001f600.txt", "\ufeffa.txt", "\u00a0"),
    *("a.", "a...", "a ", " a", "a.txt.", "a.txt ", "~", "~root/a.txt", "-rf", "--", "$HOME", "%s"),
    *("'a'.txt", '"a".txt', "a\\b.txt", "a\\", "a`b`.txt", "a|b;c&d.txt", "<b>a</b>.txt"),
    *("a:b.txt", "s3:/a.txt", "http:/example.org/a.txt", "file:/a.txt", "a.txt/a.txt/a.txt"),
    *("x" * 251 + ".txt", "\u00e9" * 125 + ".txt", "_", "a_b%c.txt", "A.TXT", "a.txt\n", "\n"),
)
"""Names of files; a slash leads into a folder."""
_PIECES = ("!", "/", "!/", "#", "%2F", "\n", "\u00e9", "e\u0301", ".", " ", *"'\"\\*[")
NOT_STORED = (b"\xff.txt", b"Party!/\xc3.txt")
"""Names that are no Unicode."""


def names(n_random: int = 20, seed: int = 7) -> list[str]:
    """The table, and random ones out of pieces; each may be a file beside the others."""
    chance = random.Random(seed)
    drawn = ("".join(chance.choices(_PIECES, k=5)) + "x" for _ in range(n_random))
    parts = [name.strip("/").split("/") for name in (*NAMES, *drawn)]
    told = ["/".join(part for part in name if part.strip(".")) for name in parts]
    visible = [name for name in dict.fromkeys(told) if name and "/." not in f"/{name}"]
    return [x for x in visible if not any(other.startswith(f"{x}/") for other in visible)]


@dataclass(frozen=True)
class Library:
    """A folder with a file of each name, and a store that was filled from it."""

    root: Path
    pipeline: IngestPipeline
    engine: SearchEngine
    words: Mapping[str, str]
    """A word that only the file at this URI holds."""

    def ingest(self, prune: Prune = False) -> IngestReport:
        return self.pipeline.run([str(self.root)], prune=prune)

    def places(self) -> set[str]:
        return {uri for row in self.pipeline.store.scan() for uri in row.locations}

    def hit(self, word: str) -> str:
        hits = self.engine.search(Query([Item(TEXT, word)], limit=1)).hits
        return hits[0].uri if hits else ""

    def check(self, uri: str) -> None:
        """It is found by its word, by its place, and by a filter for it."""
        assert self.hit(self.words[uri]) == uri
        store = self.pipeline.store
        assert described(store, uri)["locations"] == [uri]
        folder = uri[: uri.rfind("/") + 1]
        for asked in (Compare("path", Operator.EQ, uri), Compare("path", Operator.PREFIX, folder)):
            assert any(uri in row.locations for row in store.scan(asked)), asked


@pytest.fixture
def library(bundle_home: Path, tmp_path: Path) -> Iterator[Library]:
    assert bundle_home.is_dir()
    root = tmp_path / "library"
    words = {}
    with ZipFile(_made(root / "Box!" / "of.zip"), "w") as box:
        for number, name in enumerate(names()):
            on_disk, in_box = f"qxa{number}zk", f"qxb{number}zk"
            words |= {f"{root}/{name}": on_disk, f"{box.filename}!/{name}": in_box}
            _made(root / name).write_text(_note(on_disk))
            box.writestr(name, _note(in_box))
    twin = _made(root / "twin.zip!" / "a.txt")
    twin.write_text(_note("qxtwinzk"))
    words[str(twin)] = "qxtwinzk"
    with ZipFile(root / "twin.zip", "w") as box:
        box.writestr("a.txt", "Of this, the folder beside it has the name.")
    for raw in NOT_STORED:
        _made(root / os.fsdecode(raw)).write_text("A note that nobody can name.")
    encoder = MultiModalEncoder(quantization=None, enable_dsre=False)
    store = open_store(str(tmp_path / "store"), encoder.space.fingerprint, encoder.embed_dim)
    pipeline = IngestPipeline(encoder, store, IngestConfig(isolate=False))
    yield Library(root, pipeline, SearchEngine(encoder, store), words)
    store.close()


def _made(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def _note(word: str) -> str:
    return f"The note {word} is about ferries, and {word} alone."


def test_every_name_is_found_and_forgotten_alike(library: Library) -> None:
    report = library.ingest()
    failures = {failure.uri.removeprefix(f"{library.root}/") for failure in report.failures}
    told = {name.decode(errors="backslashreplace") for name in NOT_STORED}
    assert failures == {*told, "twin.zip!/a.txt"}
    assert all(failure.reason for failure in report.failures)
    assert library.places() == library.words.keys()
    assert not report.gone
    for uri in library.words:
        library.check(uri)
    again = library.ingest(prune=True)
    assert (again.ingested, again.gone) == (0, {})

    twin = f"{library.root}/twin.zip!/a.txt"  # once it is gone, the archive's file has its place
    uris = sorted(library.words.keys() - {twin})
    removed, unlinked, stay = uris[::3], uris[1::3], [*uris[2::3], twin]
    for uri in removed:
        assert remove(library.pipeline.store, uri) == 1, uri
        assert library.hit(library.words[uri]) != uri
    assert library.places() == {*unlinked, *stay}
    _forget(library, unlinked)
    assert [failure.error for failure in library.ingest(prune=True).failures].count(
        "EmptiedFolderError"
    ) == 1  # a third of all at once
    library.ingest(prune="all")
    assert library.places().isdisjoint(unlinked)
    for uri in unlinked:
        assert library.hit(library.words[uri]) != uri
    for uri in stay:
        library.check(uri)


def _forget(library: Library, uris: list[str]) -> None:
    """Remove these from the disk and from the archive."""
    box = library.root / "Box!" / "of.zip"
    for uri in uris:
        if not Location.of(uri).members:
            Path(uri).unlink()
    inner = f"{box}!/"
    with ZipFile(box, "w") as archive:
        for uri, word in library.words.items():
            if uri.startswith(inner) and uri not in uris:
                archive.writestr(uri.removeprefix(inner), _note(word))

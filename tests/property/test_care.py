"""What a person gave is never lost by care: each operation by itself, and in random order."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from encoder.errors import InputError
from search.store.folder.database import DamagedError
from tests.faults import tiny_worker
from tests.faults.care import MODELS, Library, quiet, walk
from workers.library.portable import Imported, import_store, open_export
from workers.serving.resources import Resources


@pytest.fixture(autouse=True)
def _tiny_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Resources, "_load_encoder", tiny_worker.named_encoder)
    monkeypatch.setattr(tiny_worker, "SECONDS_PER_ITEM", 0)
    monkeypatch.setenv("ANYMODAL_DATA", str(tmp_path / "data"))


@pytest.fixture(params=["folder", pytest.param("lite", marks=pytest.mark.slow)])
def library(request: pytest.FixtureRequest, tmp_path: Path) -> Library:
    """Texts and photos in two lanes, of which one has two places, one is gone and one damaged."""
    name = {"folder": "store", "lite": "store.db"}[request.param]
    library = Library(tmp_path / "library", str(tmp_path / name))
    for number, asset_id in enumerate(sorted(library.known)):
        library.give(asset_id, tags=[f"tag {number}"], title=f"Title {number}", owner="Ada")
    library.export()
    for asset_id in library.known:  # newer than the export
        library.give(asset_id, owner="Grace")
    gone, text, *_ = sorted(library.media.glob("*.txt"))
    gone.unlink()
    library.ingest()
    library.damage(library.files()[str(text)])
    library.damage(library.files()[str(library.media / "sub" / "copy.png")])
    return library


def _import_elsewhere(library: Library) -> None:
    """Tags, titles and places come along."""
    library.export()
    library.store_uri = f"{library.exports}-{library.exports.stat().st_ctime_ns}.store"
    with library.held(MODELS[0]) as held:
        told = import_store(held.store(), library.exports, open_export(library.exports), quiet)
    assert told == Imported(len(library.known))


def _repeat(library: Library) -> None:
    for _ in range(2):
        assert library.move(model=MODELS[1]).switched


def _roll_back(library: Library) -> None:
    assert library.move(model=MODELS[1]).switched
    assert library.move(rollback=True).switched


def _drop(library: Library) -> None:
    assert library.move(model=MODELS[3]).switched
    with suppress(InputError):  # it was dropped the first time
        library.drop_former()


def _back_up(library: Library) -> None:
    if library.store_uri.endswith(".db"):
        with pytest.raises(InputError, match="store export"):
            library.backup()
    else:
        library.backup()


OPERATIONS: dict[str, Callable[[Library], object]] = {
    "check": lambda library: library.check(),
    "repair": lambda library: library.check(repair=True),
    "export": Library.export,
    "import": Library.import_,
    "import elsewhere": _import_elsewhere,
    "reindex of texts": lambda library: library.move(model=MODELS[2]),
    "reindex of a lane": lambda library: library.move(model=MODELS[1]),
    "reindex again": _repeat,
    "rollback": _roll_back,
    "drop-former": _drop,
    "prune": lambda library: library.ingest(prune=True),
    "backup": _back_up,
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_care_loses_nothing_that_a_person_gave(library: Library, operation: str) -> None:
    """Beside damage, and once more when it was mended."""
    assert library.lost() == []
    with suppress(DamagedError):  # which names the remedy
        OPERATIONS[operation](library)
    assert library.lost() == []
    library.check(repair=True)
    assert library.lost() == []
    OPERATIONS[operation](library)
    assert library.lost() == []
    library.ingest()
    assert library.lost() == []
    assert library.unfound() == []
    assert library.check()["differences"] == []


@pytest.mark.parametrize("seed", range(12))
def test_care_in_any_order_loses_nothing_that_a_person_gave(seed: int) -> None:
    """``python -m tests.faults.care`` takes many more walks."""
    lost, taken = walk(seed, 8)
    assert lost == [], taken

"""After an ingest of folders: forget the places in them where stored files no longer are.

Absence is not deletion. If in doubt, nothing is forgotten: not for a folder that cannot be read,
that is on another disk than it was, as when its own is not mounted, or that lost all of its files
or many at once, nor for a file that may not be accessed. Uploads, URLs and other folders are left
alone.
"""

from __future__ import annotations

import os
import shlex
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from encoder.system.batched import in_batches
from ingest.config import IngestConfig
from ingest.errors import EmptiedFolderError, IgnoreFileError
from ingest.location import Location, inside
from ingest.sources.ignored import Ignored
from ingest.sources.objects import is_object
from ingest.sources.objects.listing import ListedFolder
from search.filters import Compare, Operator
from search.store.base import VectorStore
from search.store.locks import exclusive
from search.types import GONE_SINCE, AssetRow, Prune
from workers.pipeline.commit_rows import without_gone
from workers.pipeline.reports import IngestReport
from workers.pipeline.roots import Roots

_AT_ONCE = 500
_FEW_FOLDERS = 40
"""The rows of more folders are found sooner by scanning all rows of the folder around them."""
_FSTAB = Path("/etc/fstab")
KEPT_S = 30 * 86400.0
"""How long an asset without a file is kept when others are pruned."""
_FEW_LOST = 20
_SHARE_LOST = 10
"""More than a few files and more than one in so many are not believed to be deleted."""


@dataclass(frozen=True)
class GoneFiles:
    """Looks for files that are gone.

    Args:
        prune: whether assets that have had no file for `KEPT_S` are removed; with ``all`` all that
            have none, whatever the doubts. Others keep their last location, are noted as gone and
            are no longer found, until an ingest sees the content again.
    """

    store: VectorStore
    is_upload: Callable[[str], bool]
    prune: Prune
    fstab: Path = _FSTAB
    config: IngestConfig = field(default_factory=IngestConfig)
    roots: Roots = field(default_factory=Roots)

    def forget(
        self, folders: Sequence[str], gone: Mapping[str, Sequence[str]] = MappingProxyType({})
    ) -> IngestReport:
        """Look through folders all of whose files were just ingested.

        Returns:
            The counts, and as failures the folders and disks whose files may be only away.

        Raises:
            StoreError: the store failed; the next ingest does the rest.
        """
        report = IngestReport()
        self.roots.latest_s()  # noted, for when the clock is put back
        with report.timed("gone"):
            for folder in folders:
                if is_object(folder):
                    self._forget_objects(folder, report)
                else:
                    self._forget_in(Path(folder).expanduser().resolve(), None, report)
            for folder, places in gone.items():
                self._forget_in(Path(folder), places, report)
        return report

    def looks(self, folders: Sequence[str]) -> list[Looks]:
        """How to look through these folders; object stores, and those in doubt, are left out."""
        places = [
            Path(folder).expanduser().resolve() for folder in folders if not is_object(folder)
        ]
        return [self._look_in(folder) for folder in places if _is_empty(folder) is False]

    def _look_in(self, folder: Path) -> _Look:
        unmounted = tuple(f"{mount}/" for mount in _unmounted(self.fstab))
        away = () if self.prune == "all" else tuple(self.roots.changed(str(folder)))
        return _Look(_below(folder), unmounted, self.is_upload, Ignored(folder), away)

    def _forget_in(self, folder: Path, places: Sequence[str] | None, report: IngestReport) -> None:
        below = _below(folder)
        if not is_unicode(below):  # nothing in it can be stored
            return
        if _is_empty(folder) is None:  # it was there a moment ago
            return
        disks = self.roots.around(str(folder))
        look = self._look_in(folder)
        is_whole = self._settle_all(str(folder), below, self._rows(below, places), look, report)
        for doubted in sorted(look.doubted):
            report.fail(doubted, _moved(doubted))
        if places is None and is_whole and not look.doubted:
            self.roots.note(str(folder), disks, self._holds)

    def _holds(self, folder: str) -> bool:
        below = Compare("path", Operator.PREFIX, _below(Path(folder)))
        return is_unicode(folder) and next(self.store.scan(below), None) is not None

    def _forget_objects(self, folder: str, report: IngestReport) -> None:
        """As `_forget_in`, by a listing: checking each stored object would take a request each."""
        listed = ListedFolder(folder, self.config, report.failures.append)
        if listed.is_whole:
            look = _ObjectLook(listed, self.is_upload)
            self._settle_all(folder, folder, self._rows(folder, None), look, report)

    def _settle_all(
        self, folder: str, below: str, rows: Iterable[AssetRow], look: Looks, report: IngestReport
    ) -> bool:
        """Forget what is gone, if so much can be: all are looked at before anything changes."""
        changed, n_lost = [], 0
        for row in rows:
            dead = look.dead(row)
            if dead or row.is_gone:
                changed.append(row.asset_id)
                n_lost += dead.issuperset(row.locations) and not (row.is_gone or look.has(row))
        if changed and self.prune != "all" and not self._has_enough(below, n_lost, look):
            report.fail(folder, _emptied(folder))
            return False
        for asset_ids in in_batches(changed, _AT_ONCE):
            self._settle(asset_ids, look, report)
        return True

    def _has_enough(self, below: str, n_lost: int, look: Looks) -> bool:
        """Whether a folder still has files, and most of them if many are lost."""
        n_wanted = (_SHARE_LOST - 1) * n_lost if n_lost > _FEW_LOST else 1
        rows = self.store.scan(Compare("path", Operator.PREFIX, below))
        return sum(1 for _ in islice(filter(look.has, rows), n_wanted)) == n_wanted

    def _rows(self, below: str, places: Sequence[str] | None) -> Iterator[AssetRow]:
        """The rows of what is stored in a folder, or at some places in it and below them."""
        if places is None:
            yield from self.store.scan(Compare("path", Operator.PREFIX, below))
            return
        rows_at: dict[str, list[AssetRow]] = {}
        for chunk in in_batches(places, _AT_ONCE):
            rows_at |= self.store.assets_at(chunk)
        yield from {row.asset_id: row for rows in rows_at.values() for row in rows}.values()
        unknown = (unlooked for unlooked in places if unlooked not in rows_at)
        folders = tuple(x for unlooked in unknown for x in (f"{unlooked}/", inside(unlooked, "")))
        one_by_one = folders if len(folders) <= _FEW_FOLDERS else (below,)
        for prefix in one_by_one:
            for row in self.store.scan(Compare("path", Operator.PREFIX, prefix)):
                if any(uri.startswith(folders) for uri in row.locations):
                    yield row

    def _settle(self, asset_ids: Sequence[str], look: Looks, report: IngestReport) -> None:
        """Look again, at the current rows: a worker may have added a place."""
        with exclusive(self.store, asset_ids):
            writes, orphans = [], []
            rows = self.store.assets(asset_ids).values()
            gone_uris = [uri for row in rows if row.is_gone for uri in row.locations]
            at_uris = self.store.assets_at(gone_uris)
            # The file at a place of what is gone may be another's by now.
            lasting_uris = {
                uri for uri, at in at_uris.items() if not all(row.is_gone for row in at)
            }
            for row in rows:
                dead = look.dead(row) | (
                    lasting_uris.intersection(row.locations) if row.is_gone else set()
                )
                uris_left = [uri for uri in row.locations if uri not in dead]
                if uris_left and not (row.is_gone and not look.has(row)):
                    report.gone["dropped"] += len(dead)
                    writes.append(
                        replace(row, locations=uris_left, metadata=without_gone(row.metadata))
                    )
                elif not uris_left and self._is_due(row):
                    orphans.append(row.asset_id)
                else:
                    report.gone["gone"] += 1
                    if _since(row) is None:
                        since = round(self.roots.latest_s(), 3)
                        writes.append(replace(row, metadata={**row.metadata, GONE_SINCE: since}))
            if writes:
                self.store.write(writes, [])
            if orphans:
                self.store.delete(orphans)
                report.gone["pruned"] += len(orphans)

    def _is_due(self, row: AssetRow) -> bool:
        """Whether an asset without a file is to be removed."""
        since = _since(row)
        is_old = since is not None and time.time() - since >= KEPT_S
        return self.prune == "all" or (self.prune and is_old)


def _since(row: AssetRow) -> float | None:
    """When a row was marked as gone; None if not, or by a clock that was behind.

    Such a mark is older than the file's last change, and begins again.
    """
    since, modified = (row.metadata.get(name) for name in (GONE_SINCE, "modified"))
    if not isinstance(since, int | float):
        return None
    is_early = isinstance(modified, int | float) and since < modified <= time.time()
    return None if is_early else since


class Looks(Protocol):
    def dead(self, row: AssetRow) -> set[str]:
        """The row's locations in a folder at which there is no file, or that are ignored."""

    def has(self, row: AssetRow) -> bool:
        """Whether there is a file at one of them, ignored or not."""


@dataclass(frozen=True)
class _ObjectLook:
    listed: ListedFolder
    is_upload: Callable[[str], bool]

    def dead(self, row: AssetRow) -> set[str]:
        return self.listed.dead(row.locations, self.is_upload)

    def has(self, row: AssetRow) -> bool:
        return any(map(self.listed.holds, row.locations))


@dataclass(frozen=True)
class _Look:
    below: str
    unmounted: tuple[str, ...]
    is_upload: Callable[[str], bool]
    ignored: Ignored
    away: tuple[str, ...] = ()
    doubted: set[str] = field(default_factory=set)
    """The places among ``away`` in which files are missing."""

    def dead(self, row: AssetRow) -> set[str]:
        missing = {
            uri
            for uri in row.locations
            if uri.startswith(self.below)
            and not uri.startswith(self.unmounted)
            and not self.is_upload(uri)
            and (is_gone(uri) or self._is_ignored(uri))
        }
        doubted = {uri: x for uri in missing for x in self.away if uri.startswith(f"{x}/")}
        self.doubted.update(doubted.values())
        return missing - doubted.keys()

    def has(self, row: AssetRow) -> bool:
        return any(uri.startswith(self.below) and not is_gone(uri) for uri in row.locations)

    def _is_ignored(self, uri: str) -> bool:
        try:
            return self.ignored.has_below(Location.of(uri).file)
        except IgnoreFileError:  # reported by the walk
            return False


def is_gone(uri: str) -> bool:
    """Whether there is surely no file; one that may not be accessed may be there.

    A file in an archive is there while the archive is: ingesting the archive forgets what left it.
    """
    return all(_is_no_file(location.file) for location in Location.readings(uri))


def _is_no_file(path: str) -> bool:
    try:
        return not stat.S_ISREG(Path(path).stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False


def _below(folder: Path) -> str:
    return f"{str(folder).rstrip('/')}/"


def is_unicode(text: str) -> bool:
    try:
        return bool(text.encode())
    except UnicodeEncodeError:
        return False


def _is_empty(folder: Path) -> bool | None:
    """Whether a folder is empty; None if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is None
    except OSError:
        return None


def _emptied(folder: str) -> EmptiedFolderError:
    return EmptiedFolderError(
        f"{folder} lost all of its stored files, or more than {_FEW_LOST} and one in {_SHARE_LOST} "
        "at once, so none of them was forgotten.",
        remedy=f"Mount its disk or check its server. {_for_good(folder)}",
    )


def _moved(folder: str) -> EmptiedFolderError:
    return EmptiedFolderError(
        f"Files are missing in {folder}, which is gone or on another disk than at its last ingest, "
        "so none of them was forgotten.",
        remedy=f"Mount its disk. {_for_good(folder)}",
    )


def _for_good(folder: str) -> str:
    is_there = is_object(folder) or Path(folder).is_dir()
    command = "ingest --prune=all" if is_there else "delete"
    return f"If the files are gone for good, run: anymodal {command} {shlex.quote(folder)}"


def _unmounted(fstab: Path) -> list[str]:
    try:
        lines = fstab.read_text(errors="replace").splitlines()
    except OSError:
        return []
    fields = [line.split() for line in lines if not line.lstrip().startswith("#")]
    # Spaces are written in octal there.
    places = [field[1].replace("\\040", " ") for field in fields if len(field) > 1]
    return [
        mount.rstrip("/")
        for mount in places
        if mount.startswith("/") and mount != "/" and not os.path.ismount(mount)
    ]

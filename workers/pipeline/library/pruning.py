"""After an ingest of folders: forget the places in them where stored files no longer are.

If in doubt, nothing is forgotten: not for a folder that cannot be read or that is empty, as when a
disk is not mounted, nor for a file that may not be accessed. Uploads, URLs and other folders are
left alone.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from ingest.config import IngestConfig
from ingest.errors import EmptiedFolderError, IgnoreFileError
from ingest.location import Location, inside
from ingest.sources.ignored import Ignored
from ingest.sources.objects import is_object
from search.filters import Compare, Operator
from search.store.base import VectorStore
from search.store.locks import exclusive
from search.types import GONE_SINCE, AssetRow
from workers.pipeline.ingest_job import in_chunks
from workers.pipeline.reports import IngestReport
from workers.pipeline.rows.commit_row import without_gone
from workers.pipeline.stage_report import WatchedReport

if TYPE_CHECKING:
    from ingest.sources.objects.gone import ListedFolder

_AT_ONCE = 500
_FEW_FOLDERS = 40
"""The rows of more folders are found sooner by scanning all rows of the folder around them."""
_FSTAB = Path("/etc/fstab")


@dataclass(frozen=True)
class GoneFiles:
    """Looks for files that are gone.

    Args:
        store: whose rows are checked.
        is_upload: whether a location is that of an upload.
        prune: whether assets without any location left are removed. Else they keep the last one,
            are noted as gone and are no longer found, until an ingest sees the content again.
        fstab: lists which disks belong where.
        config: how object stores are opened.
    """

    store: VectorStore
    is_upload: Callable[[str], bool]
    prune: bool
    fstab: Path = _FSTAB
    config: IngestConfig = field(default_factory=IngestConfig)

    def forget(
        self, folders: Sequence[str], gone: Mapping[str, Sequence[str]] = MappingProxyType({})
    ) -> IngestReport:
        """Look through folders all of whose files were just ingested.

        Args:
            folders: the folders.
            gone: files and folders that vanished, by a folder around them: only these are checked,
                in the same way.

        Returns:
            The counts, and as failures the folders that are empty though files in them are stored.

        Raises:
            StoreError: the store failed; the next ingest does the rest.
        """
        report = WatchedReport()
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
        places = [Path(one).expanduser().resolve() for one in folders if not is_object(one)]
        return [self._look_in(one) for one in places if _is_empty(one) is False]

    def _look_in(self, folder: Path) -> _Look:
        unmounted = tuple(f"{place}/" for place in _unmounted(self.fstab))
        return _Look(_below(folder), unmounted, self.is_upload, Ignored(folder))

    def _forget_in(self, folder: Path, places: Sequence[str] | None, report: IngestReport) -> None:
        below = _below(folder)
        if not _is_unicode(below):  # nothing in it can be stored
            return
        rows = self._rows(below, places)
        is_empty = _is_empty(folder)
        if is_empty is None:  # it was there a moment ago
            return
        if is_empty:
            if next(iter(rows), None):
                report.fail(str(folder), _emptied(folder))
            return
        self._settle_all(rows, self._look_in(folder), report)

    def _forget_objects(self, folder: str, report: IngestReport) -> None:
        """As `_forget_in`, by a listing: checking each stored object would take a request each."""
        from ingest.sources.objects.gone import ListedFolder

        listed = ListedFolder(folder, self.config, report.failures.append)
        rows = self._rows(folder, None)
        if listed.is_empty and listed.is_whole:
            if next(iter(rows), None):
                report.fail(folder, _emptied(folder))
        elif listed.is_whole:
            self._settle_all(rows, _ObjectLook(listed, self.is_upload), report)

    def _settle_all(self, rows: Iterable[AssetRow], look: Looks, report: IngestReport) -> None:
        for chunk in in_chunks(rows, _AT_ONCE):
            changed = [row.asset_id for row in chunk if row.is_gone or look.dead(row)]
            if changed:
                self._settle(changed, look, report)

    def _rows(self, below: str, places: Sequence[str] | None) -> Iterator[AssetRow]:
        """The rows of what is stored in a folder, or at some places in it and below them."""
        if places is None:
            yield from self.store.scan(Compare("path", Operator.PREFIX, below))
            return
        known: dict[str, list[AssetRow]] = {}
        for chunk in in_chunks(places, _AT_ONCE):
            known |= self.store.assets_at(chunk)
        yield from {row.asset_id: row for rows in known.values() for row in rows}.values()
        unknown = (place for place in places if place not in known)
        folders = tuple(x for place in unknown for x in (f"{place}/", inside(place, "")))
        one_by_one = folders if len(folders) <= _FEW_FOLDERS else (below,)
        for prefix in one_by_one:
            for row in self.store.scan(Compare("path", Operator.PREFIX, prefix)):
                if any(uri.startswith(folders) for uri in row.locations):
                    yield row

    def _settle(self, asset_ids: Sequence[str], look: Looks, report: IngestReport) -> None:
        """Look again, at the current rows: a worker may have added a place."""
        with exclusive(self.store, asset_ids):
            writes, orphans = [], []
            for row in self.store.assets(asset_ids).values():
                dead = look.dead(row)
                left = [uri for uri in row.locations if uri not in dead]
                if left:
                    report.gone["dropped"] += len(dead)
                    writes.append(replace(row, locations=left, metadata=without_gone(row.metadata)))
                elif self.prune:
                    orphans.append(row.asset_id)
                else:
                    report.gone["gone"] += 1
                    writes += [] if row.is_gone else [_marked(row)]
            if writes:
                self.store.write(writes, [])
            if orphans:
                self.store.delete(orphans)
                report.gone["pruned"] += len(orphans)


class Looks(Protocol):
    """Looks at the places of stored files."""

    def dead(self, row: AssetRow) -> set[str]:
        """The row's locations in a folder at which there is no file, or that are ignored."""
        ...


@dataclass(frozen=True)
class _ObjectLook:
    listed: ListedFolder
    is_upload: Callable[[str], bool]

    def dead(self, row: AssetRow) -> set[str]:
        return self.listed.dead(row.locations, self.is_upload)


@dataclass(frozen=True)
class _Look:
    below: str
    unmounted: tuple[str, ...]
    is_upload: Callable[[str], bool]
    ignored: Ignored

    def dead(self, row: AssetRow) -> set[str]:
        """The row's locations in the folder at which there is no file, or that are ignored."""
        return {
            uri
            for uri in row.locations
            if uri.startswith(self.below)
            and not uri.startswith(self.unmounted)
            and not self.is_upload(uri)
            and (is_gone(uri) or self._is_ignored(uri))
        }

    def _is_ignored(self, uri: str) -> bool:
        try:
            return self.ignored.has_below(Location.of(uri).file)
        except IgnoreFileError:  # reported by the walk
            return False


def is_gone(uri: str) -> bool:
    """Whether there is surely no file; one that may not be accessed may be there.

    A file in an archive is there while the archive is: ingesting the archive forgets what left it.
    """
    return all(_is_no_file(place.file) for place in Location.readings(uri))


def _is_no_file(path: str) -> bool:
    try:
        return not stat.S_ISREG(Path(path).stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False


def _below(folder: Path) -> str:
    """The beginning of all paths in it."""
    return f"{str(folder).rstrip('/')}/"


def _is_unicode(text: str) -> bool:
    try:
        return bool(text.encode())
    except UnicodeEncodeError:
        return False


def _marked(row: AssetRow) -> AssetRow:
    return replace(row, metadata={**row.metadata, GONE_SINCE: round(time.time(), 3)})


def _is_empty(folder: Path) -> bool | None:
    """Whether a folder is empty; None if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is None
    except OSError:
        return None


def _emptied(folder: Path | str) -> EmptiedFolderError:
    return EmptiedFolderError(
        f"{folder} is empty although files in it are stored, so none of them was removed.",
        remedy="Mount its disk or check its server. If the files are gone for good, run: "
        f"anymodal delete {folder}",
    )


def _unmounted(fstab: Path) -> list[str]:
    """The mount points of disks that are not mounted."""
    try:
        lines = fstab.read_text(errors="replace").splitlines()
    except OSError:
        return []
    fields = [line.split() for line in lines if not line.lstrip().startswith("#")]
    # Spaces are written in octal there.
    places = [field[1].replace("\\040", " ") for field in fields if len(field) > 1]
    return [
        place.rstrip("/")
        for place in places
        if place.startswith("/") and place != "/" and not os.path.ismount(place)
    ]

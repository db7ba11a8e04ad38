"""What is at the places of a shard: found without reading what is stored, else identified."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from encoder.errors import MediaError
from encoder.system.disk import temporary_folder
from ingest import identify
from ingest.config import IngestConfig
from ingest.errors import GoneObjectError
from ingest.kinds.archive import ARCHIVE
from ingest.kinds.registry import (
    READ_BY,
    holds_files,
    is_chosen,
    is_outdated,
    kind_of,
    left_out,
)
from ingest.location import Location, inside, is_path
from ingest.sources.archives import identify_members
from ingest.sources.identity import content_id, identify_copy, modified_s, place
from ingest.sources.objects import (
    VERSIONS,
    ObjectFacts,
    Patience,
    fetch_all,
    is_object,
    look_at_all,
    version_of,
)
from ingest.sources.urls import identify_url, is_url
from ingest.types import Asset, Fact
from search.filters import Compare, Operator, Or
from search.store.base import VectorStore
from search.types import AssetRow
from workers.pipeline.commit_rows import release

_ARCHIVES_AT_ONCE = 32
_QUICKLY_HASHED_BYTES = 64 * 2**20
"""The limits of larger files are checked before they are read."""


def nowhere(_path: str, _folder: Callable[[], Path]) -> None:
    """Fetch nothing: all uploads are on this disk."""


@dataclass
class Identifying:
    config: IngestConfig
    scratch: ExitStack
    on_failure: Callable[[str, MediaError], None]
    archives: list[str] = field(default_factory=list)
    """URIs of archives of which every file was seen, of whatever kind."""
    uploaded: Callable[[str, Callable[[], Path]], Path | None] = nowhere
    """Fetches an upload that is not on this disk, into a folder."""
    objects: dict[str, Asset] = field(default_factory=dict)
    """The objects that were fetched, by the path that was requested."""
    _brought: dict[str, Path] = field(default_factory=dict)
    _folder: Path | None = None

    def assets(self, path: str, asset_id: str = "") -> Iterator[Asset]:
        """What is at a path or URL: one asset, or those in an archive.

        ``asset_id`` is the file's hash, if it is known.
        """
        try:
            fetched = self.objects.get(path)
            is_file = {fetched.uri}.__contains__ if fetched else os.path.isfile
            is_whole = path in self._brought or is_url(path)
            location = Location(path) if is_whole else Location.of(path, is_file)
            asset = fetched or self._one(location.file, asset_id)
            holds_files = kind_of(asset.media_type).holds_files
            if asset.modality != ARCHIVE and not (location.members and holds_files):
                if is_chosen(asset.media_type, self.config.kinds):
                    yield asset
                else:
                    self.on_failure(asset.uri, left_out(asset.uri, self.config.kinds))
            if not holds_files:
                return
            member_uri = str(replace(location, file=asset.uri)) if location.members else ""
            yield from identify_members(
                asset, self._scratch(), self.config, self.on_failure, member_uri
            )
            if not member_uri and not self.config.kinds:
                self.archives.append(asset.uri)
        except MediaError as error:
            self.on_failure(path, error)

    def fetch(self, objects: Mapping[str, ObjectFacts], patience: Patience) -> None:
        paths = {facts.url: path for path, facts in objects.items()}
        for facts, asset in fetch_all(
            list(objects.values()), self._scratch(), self.config, patience
        ):
            path = paths[facts.url]
            if isinstance(asset, MediaError):
                self.on_failure(path, asset)
            else:
                self.objects[path] = asset

    def bring(self, paths: Sequence[str]) -> None:
        """Fetch uploads that are on another machine; `assets` says which cannot be read."""
        for path in paths:
            if file := self.uploaded(path, self._scratch):
                self._brought[path] = file

    def _one(self, path: str, asset_id: str) -> Asset:
        if is_url(path):
            return identify_url(path, self._scratch(), self.config)
        if path in self._brought:
            return identify_copy(self._brought[path], path, self.config)
        return identify(Path(path), self.config, asset_id=asset_id)

    def _scratch(self) -> Path:
        if self._folder is None:
            self._folder = self.scratch.enter_context(temporary_folder("anymodal-"))
        return self._folder


@dataclass
class LocatedFiles:
    """The contents of a shard by id; one can be at several places."""

    assets: dict[str, list[Asset]] = field(default_factory=lambda: defaultdict(list))
    is_as_stored: bool = True
    """Whether nothing differs from what is stored, so that nothing has to be written."""

    def add(self, asset: Asset) -> None:
        self.assets[asset.asset_id].append(asset)


@dataclass
class KnownPlaces:
    as_stored: LocatedFiles = field(default_factory=LocatedFiles)
    """Those stored at the place where they are."""
    elsewhere: LocatedFiles = field(default_factory=LocatedFiles)
    """Those stored at a different place, or with a different time of change."""
    rest: list[str] = field(default_factory=list)
    """The paths whose content is not stored, or has still to be looked for."""
    n_bytes: int = 0
    """How many bytes were read."""

    @property
    def n_files(self) -> int:
        """How many still have to be written or read."""
        return len(self.rest) + sum(map(len, self.elsewhere.assets.values()))


@dataclass(frozen=True)
class File:
    path: Path
    size_bytes: int
    modified_s: float

    @property
    def uri(self) -> str:
        return str(self.path)

    def is_in(self, row: AssetRow) -> bool:
        """Whether it is surely what a row holds at its place."""
        recorded = (row.size_bytes, row.metadata.get("modified"))
        return recorded == (self.size_bytes, self.modified_s) and not row.is_gone

    def is_of(self, asset: Asset) -> bool:
        """Whether it is surely what was identified as an asset."""
        identified = (asset.size_bytes, asset.metadata.get("modified"))
        return identified == (self.size_bytes, self.modified_s)

    def of(self, row: AssetRow) -> Asset:
        metadata = {"modified": self.modified_s}
        return Asset(row.asset_id, self.uri, row.modality, row.media_type, row.size_bytes, metadata)


@dataclass(frozen=True)
class _Object:
    """What a server says of an object, without reading it."""

    facts: ObjectFacts

    @property
    def uri(self) -> str:
        return self.facts.url

    def is_in(self, row: AssetRow) -> bool:
        """Whether it is surely what a row holds at its place."""
        recorded = version_of(row.metadata.get(VERSIONS), self.facts.url)
        return recorded == self.facts.version and not row.is_gone

    def of(self, row: AssetRow) -> Asset:
        metadata: dict[str, Fact] = {
            "modified": self.facts.modified_s,
            VERSIONS: [self.facts.version],
        }
        return Asset(row.asset_id, self.uri, row.modality, row.media_type, row.size_bytes, metadata)


_Seen: TypeAlias = File | _Object | None


@dataclass(frozen=True)
class Places:
    """Looks at files: at size and time, then at the content, then at the header."""

    store: VectorStore
    identifying: Identifying
    hashes: dict[File, str] = field(default_factory=dict)
    verify: bool = False
    """Whether to look at the content of files on disks in any case."""

    def locate(self, paths: Sequence[str]) -> LocatedFiles:
        """What is at these places; `Identifying.on_failure` takes what cannot be read."""
        located = LocatedFiles()
        patience = Patience()
        objects = self._look_far(paths, patience)
        local = {path: self._look(path) for path in paths if not is_object(path)}
        looked = local | objects
        unlike = self._unlike(looked, located)
        located.is_as_stored = not unlike
        self._fetch(unlike, located, patience)
        self._read({p: f for p, f in unlike.items() if not isinstance(f, _Object)}, located)
        return located

    def bring(self, paths: Sequence[str]) -> None:
        """Fetch objects, and uploads that are on another machine, for `Identifying.assets`."""
        patience = Patience()
        far = self._look_far(paths, patience)
        self.identifying.fetch({path: look.facts for path, look in far.items()}, patience)
        self.identifying.bring(paths)

    def known_places(self, paths: Sequence[str]) -> KnownPlaces:
        """Which of these are files whose content is stored; no header is read."""
        known_places = KnownPlaces()
        looked = {path: self._look(path) for path in paths}
        files = {path: file for path, file in looked.items() if file}
        unlike = {path: files[path] for path in self._unlike(files, known_places.as_stored)}
        ids = self._hashed(unlike)
        rows = self._rows(ids)
        for path in looked:
            if path not in files or ids.get(path) == "":
                known_places.rest.append(path)
            elif path not in ids:  # as stored, or it could not be read
                continue
            elif row := rows.get(ids[path]):
                self._add(path, files[path].of(row), known_places.elsewhere)
            else:
                known_places.rest.append(path)
                self.hashes[files[path]] = ids[path]
        known_places.n_bytes = sum(unlike[path].size_bytes for path in ids if ids[path])
        return known_places

    def _unlike(self, looked: Mapping[str, _Seen], located: LocatedFiles) -> dict[str, _Seen]:
        """Note what surely is where it is stored; return the rest."""
        uris = {path: look.uri for path, look in looked.items() if look}
        self.store.catch_up()  # what others have just taken away or changed is not as stored
        stored = self.store.assets_at(list(uris.values()))
        chosen = self.identifying.config.kinds
        unlike = {}
        for path, look in looked.items():
            rows = [row for row in stored.get(uris.get(path, ""), []) if not row.is_gone]
            # Even if unchanged, files in it are read again where some may have been left out.
            is_known = len(rows) == 1 and not (
                is_unread(rows[0]) or (chosen and holds_files(rows[0].media_type))
            )
            is_trusted = is_known and not (self.verify and isinstance(look, File))
            if look and is_trusted and look.is_in(rows[0]):
                self._add(path, look.of(rows[0]), located)
            else:
                unlike[path] = look
        return unlike

    def _add(self, path: str, stored: Asset, located: LocatedFiles) -> None:
        """Note what is stored already, if it is of a kind that was requested."""
        chosen = self.identifying.config.kinds
        if is_chosen(stored.media_type, chosen):
            located.add(stored)
        else:
            self.identifying.on_failure(path, left_out(path, chosen))

    def _look(self, path: str) -> File | None:
        """The file; None for a URL, or if missing or not readable: `Identifying` says why."""
        if not is_path(path):
            return None
        try:
            real = place(Path(path), self.identifying.config)
            facts = real.stat()
        except (MediaError, OSError):
            return None
        return File(real, facts.st_size, modified_s(facts))

    def _look_far(self, paths: Sequence[str], patience: Patience) -> dict[str, _Object]:
        """What servers say of objects; of a file in an archive, what they say of the archive."""
        far_objects = dict[str, _Object]()
        readings = {path: Location.readings(path) for path in paths if is_object(path)}
        while readings:
            files = [places.pop().file for places in readings.values()]  # the longest first
            looked = look_at_all(files, self.identifying.config, patience)
            for (path, shorter), (_, facts) in zip(list(readings.items()), looked, strict=True):
                if isinstance(facts, ObjectFacts):
                    far_objects[path] = _Object(facts)
                elif isinstance(facts, GoneObjectError) and shorter:
                    continue
                else:
                    self.identifying.on_failure(path, facts)
                del readings[path]
        return far_objects

    def _fetch(
        self, unlike: Mapping[str, _Seen], located: LocatedFiles, patience: Patience
    ) -> None:
        far_facts = {path: look.facts for path, look in unlike.items() if isinstance(look, _Object)}
        if not far_facts:
            return
        self.identifying.fetch(far_facts, patience)
        for path in far_facts:
            if path in self.identifying.objects:
                for asset in self.identifying.assets(path):
                    located.add(asset)

    def _read(self, files: Mapping[str, File | None], located: LocatedFiles) -> None:
        """Hash files, and read the headers of those whose content is not stored."""
        ids = self._hashed(files)
        rows = self._rows(ids)
        for path, asset_id in ids.items():
            file, row = files[path], rows.get(asset_id)
            if file and row:
                self._add(path, file.of(row), located)
                continue
            for asset in self.identifying.assets(path, asset_id):
                if file and asset_id and asset.uri == file.uri and not file.is_of(asset):
                    self.identifying.on_failure(path, changed(path))
                    break
                located.add(asset)

    def _hashed(self, files: Mapping[str, File | None]) -> dict[str, str]:
        """The hash of each file that can be read; empty if that would take long."""
        ids: dict[str, str] = {}
        for path, file in files.items():
            try:
                ids[path] = self._hash(file) if file else ""
            except MediaError as error:
                self.identifying.on_failure(path, error)
        return ids

    def _hash(self, file: File) -> str:
        if stored_hash := self.hashes.pop(file, ""):
            return stored_hash
        is_quick = file.size_bytes <= _QUICKLY_HASHED_BYTES
        return content_id(file.path, self.identifying.config) if is_quick else ""

    def _rows(self, ids: Mapping[str, str]) -> dict[str, AssetRow]:
        rows = self.store.assets([asset_id for asset_id in ids.values() if asset_id])
        return {
            asset_id: row
            for asset_id, row in rows.items()
            if not (is_unread(row) or holds_files(row.media_type))
        }


def is_unread(row: AssetRow) -> bool:
    """Whether it has no segments of today's readers.

    A move to another model leaves those without any that were gone (`workers.library.reindex`).
    """
    noted = row.metadata.get(READ_BY)
    return not row.n_segments or is_outdated(row.media_type, row.modality, noted)


def still_there(
    located: Mapping[str, Sequence[Asset]],
    at_uris: Mapping[str, Sequence[AssetRow]],
    config: IngestConfig,
    on_failure: Callable[[str, MediaError], None],
) -> dict[str, Sequence[Asset]]:
    """What was read, without files that vanished since, or that others have ingested again."""
    by_asset = dict[str, Sequence[Asset]]()
    for asset_id, copies in located.items():
        copies_there = []
        for copy in copies:
            other_rows = [row for row in at_uris.get(copy.uri, ()) if row.asset_id != asset_id]
            if _is_outrun(copy, other_rows, config):
                on_failure(copy.uri, changed(copy.uri))
            else:
                copies_there.append(copy)
        if copies_there:
            by_asset[asset_id] = copies_there
    return by_asset


def _is_outrun(copy: Asset, other_rows: Sequence[AssetRow], config: IngestConfig) -> bool:
    try:
        file = _file_of(copy)
        if file is None or not any(file.is_in(row) for row in other_rows):
            return False
        # Of two contents with the same size and time, the file itself says which it is.
        return not (file.is_of(copy) and content_id(file.path, config) == copy.asset_id)
    except MediaError:
        return True
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:  # it may be there
        return False


def has_changed(asset: Asset) -> bool:
    """Whether its file is another than was identified, so that what was read may be another's."""
    try:
        file = _file_of(asset)
    except OSError:
        return False
    return file is not None and not file.is_of(asset)


def _file_of(asset: Asset) -> File | None:
    """What is there now; None for what was unpacked or fetched. Raises OSError."""
    if asset.path or not is_path(asset.uri):
        return None
    path = Path(asset.uri)
    facts = path.stat()
    return File(path, facts.st_size, modified_s(facts))


def changed(uri: str) -> MediaError:
    return MediaError(
        f"{uri} vanished or was changed since it was read.", remedy="Ingest it again."
    )


def forget_members(
    store: VectorStore, archives: Sequence[str], located: Mapping[str, Sequence[Asset]]
) -> None:
    """Forget the places in these archives that no longer hold a file."""
    member_uris = {copy.uri for copies in located.values() for copy in copies}
    for at in range(0, len(archives), _ARCHIVES_AT_ONCE):
        members = tuple(inside(archive, "") for archive in archives[at : at + _ARCHIVES_AT_ONCE])
        rows = store.scan(Or(tuple(Compare("path", Operator.PREFIX, member) for member in members)))
        dead = {
            uri
            for row in rows
            for uri in row.locations
            if uri.startswith(members) and uri not in member_uris and not _is_file(uri, row)
        }
        if dead:
            release(store, list(dead))


def _is_file(uri: str, row: AssetRow) -> bool:
    """Whether something like ``Party!/a.txt`` is a file in a folder, beside a file ``Party``."""
    return os.path.isfile(uri) or bool(version_of(row.metadata.get(VERSIONS), uri))  # noqa: PTH113

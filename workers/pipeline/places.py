"""Find what is at the places of a shard, without reading what is stored already."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from encoder.errors import MediaError
from ingest.errors import GoneObjectError
from ingest.kinds.packages import READ_BY, is_outdated
from ingest.kinds.registry import holds_files, is_chosen, left_out
from ingest.location import Location
from ingest.sources.identity import content_id, modified_s, place
from ingest.sources.objects import (
    VERSIONS,
    ObjectFacts,
    Patience,
    is_object,
    look_at_all,
    version_of,
)
from ingest.sources.remote import is_url
from ingest.types import Asset, Fact
from search.store.base import VectorStore
from search.types import AssetRow
from workers.pipeline.identifying import Identifying

_QUICKLY_HASHED_BYTES = 64 * 2**20
"""The limits of larger files are checked before they are read."""


@dataclass
class Located:
    """The contents of a shard by id; one can be at several places."""

    assets: dict[str, list[Asset]] = field(default_factory=lambda: defaultdict(list))
    is_as_stored: bool = True
    """Whether nothing differs from what is stored, so that nothing has to be written."""

    def add(self, asset: Asset) -> None:
        """Note what is at one more place."""
        self.assets[asset.asset_id].append(asset)


@dataclass
class Known:
    """Some files, sorted by whether their content is stored."""

    as_stored: Located = field(default_factory=Located)
    """Those stored at the place where they are."""
    elsewhere: Located = field(default_factory=Located)
    """Those stored at a different place, or with a different time of change."""
    rest: list[str] = field(default_factory=list)
    """The paths whose content is not stored, or has still to be looked for."""
    n_bytes: int = 0
    """How many bytes were read."""


@dataclass(frozen=True)
class File:
    """Where a file lies, its size and when it was last changed."""

    path: Path
    size_bytes: int
    modified_s: float

    @property
    def uri(self) -> str:
        """What rows call it."""
        return str(self.path)

    def is_in(self, row: AssetRow) -> bool:
        """Whether it is surely what a row holds at its place."""
        known = (row.size_bytes, row.metadata.get("modified"))
        return known == (self.size_bytes, self.modified_s) and not row.is_gone

    def of(self, row: AssetRow) -> Asset:
        """The content that a row stores, at this place."""
        metadata = {"modified": self.modified_s}
        return Asset(row.asset_id, self.uri, row.modality, row.media_type, row.size_bytes, metadata)


@dataclass(frozen=True)
class _Object:
    """What a server says of an object, without reading it."""

    facts: ObjectFacts

    @property
    def uri(self) -> str:
        """What rows call it."""
        return self.facts.url

    def is_in(self, row: AssetRow) -> bool:
        """Whether it is surely what a row holds at its place."""
        known = version_of(row.metadata.get(VERSIONS), self.facts.url)
        return known == self.facts.version and not row.is_gone

    def of(self, row: AssetRow) -> Asset:
        """The content that a row stores, at this place."""
        metadata: dict[str, Fact] = {
            "modified": self.facts.modified_s,
            VERSIONS: [self.facts.version],
        }
        return Asset(row.asset_id, self.uri, row.modality, row.media_type, row.size_bytes, metadata)


_Seen: TypeAlias = File | _Object | None


@dataclass(frozen=True)
class Places:
    """Looks at files: at size and time, then at the content, then at the header.

    Args:
        store: says what is stored at a place, and which contents are stored.
        identifying: reads what is not stored, and all archives and URLs.
        hashes: of new files that `known` has read, for `locate` to use.
    """

    store: VectorStore
    identifying: Identifying
    hashes: dict[File, str] = field(default_factory=dict)

    def locate(self, paths: Sequence[str]) -> Located:
        """What is at these places; `Identifying.on_failure` takes what cannot be read."""
        found = Located()
        patience = Patience()
        objects = self._look_far([path for path in paths if is_object(path)], patience)
        here = [path for path in paths if not is_object(path)]
        seen = {path: self._look(path) for path in here} | objects
        unlike = self._unlike(seen, found)
        found.is_as_stored = not unlike
        self._fetch(unlike, found, patience)
        self._read({p: f for p, f in unlike.items() if not isinstance(f, _Object)}, found)
        return found

    def known(self, paths: Sequence[str]) -> Known:
        """Which of these are files whose content is stored; no header is read."""
        known = Known()
        looked = {path: None if is_object(path) else self._look(path) for path in paths}
        files = {path: file for path, file in looked.items() if file}
        unlike = {path: files[path] for path in self._unlike(files, known.as_stored)}
        ids = self._hashed(unlike)
        rows = self._rows(ids)
        for path in looked:
            if path not in files or ids.get(path) == "":
                known.rest.append(path)
            elif path not in ids:  # as stored, or it could not be read
                continue
            elif row := rows.get(ids[path]):
                self._add(path, files[path].of(row), known.elsewhere)
            else:
                known.rest.append(path)
                self.hashes[files[path]] = ids[path]
        known.n_bytes = sum(unlike[path].size_bytes for path in ids if ids[path])
        return known

    def _unlike(self, seen: Mapping[str, _Seen], found: Located) -> dict[str, _Seen]:
        """Note what surely is where it is stored; return the rest."""
        uris = {path: one.uri for path, one in seen.items() if one}
        stored = self.store.assets_at(list(uris.values()))
        unlike = {}
        for path, one in seen.items():
            rows = stored.get(uris.get(path, ""), [])
            is_known = one and len(rows) == 1 and not self._is_read_again(rows[0])
            if one and is_known and one.is_in(rows[0]):
                self._add(path, one.of(rows[0]), found)
            else:
                unlike[path] = one
        return unlike

    def _is_read_again(self, row: AssetRow) -> bool:
        """Whether to read it even if unchanged: for files in it, of which some may be left out."""
        chosen = self.identifying.config.kinds
        return is_unread(row) or bool(chosen and holds_files(row.media_type))

    def _add(self, path: str, stored: Asset, found: Located) -> None:
        """Note what is stored already, if it is of a kind that was requested."""
        chosen = self.identifying.config.kinds
        if is_chosen(stored.media_type, chosen):
            found.add(stored)
        else:
            self.identifying.on_failure(path, left_out(path, chosen))

    def _look(self, path: str) -> File | None:
        """The file; None for a URL, or if missing or not readable: `Identifying` says why."""
        if is_url(path):
            return None
        try:
            real = place(Path(path), self.identifying.config)
            facts = real.stat()
        except (MediaError, OSError):
            return None
        return File(real, facts.st_size, modified_s(facts))

    def _look_far(self, paths: Sequence[str], patience: Patience) -> dict[str, _Object]:
        """What servers say of objects; of a file in an archive, what they say of the archive."""
        seen = dict[str, _Object]()
        readings = {path: Location.readings(path) for path in paths}
        while readings:
            files = [places.pop().file for places in readings.values()]  # the longest first
            looked = look_at_all(files, self.identifying.config, patience)
            for (path, shorter), (_, facts) in zip(list(readings.items()), looked, strict=True):
                if isinstance(facts, ObjectFacts):
                    seen[path] = _Object(facts)
                elif isinstance(facts, GoneObjectError) and shorter:
                    continue
                else:
                    self.identifying.on_failure(path, facts)
                del readings[path]
        return seen

    def _fetch(self, unlike: Mapping[str, _Seen], found: Located, patience: Patience) -> None:
        """Fetch objects that are not known to be as stored."""
        wanted = {path: one.facts for path, one in unlike.items() if isinstance(one, _Object)}
        if not wanted:
            return
        self.identifying.fetch(wanted, patience)
        for path in wanted:
            if path in self.identifying.objects:
                for asset in self.identifying.assets(path):
                    found.add(asset)

    def _read(self, files: Mapping[str, File | None], found: Located) -> None:
        """Hash files, and read the headers of those whose content is not stored."""
        ids = self._hashed(files)
        rows = self._rows(ids)
        for path, asset_id in ids.items():
            file, row = files[path], rows.get(asset_id)
            if file and row:
                self._add(path, file.of(row), found)
                continue
            for asset in self.identifying.assets(path, asset_id):
                found.add(asset)

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
        if known := self.hashes.pop(file, ""):
            return known
        is_quick = file.size_bytes <= _QUICKLY_HASHED_BYTES
        return content_id(file.path, self.identifying.config) if is_quick else ""

    def _rows(self, ids: Mapping[str, str]) -> dict[str, AssetRow]:
        """The stored contents among these that need not be read again."""
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
    return not row.n_segments or is_outdated(row, row.metadata.get(READ_BY))


def still_there(
    located: Mapping[str, Sequence[Asset]],
    at_uris: Mapping[str, Sequence[AssetRow]],
    on_failure: Callable[[str, MediaError], None],
) -> dict[str, Sequence[Asset]]:
    """What was read, without files that vanished since, or that others have ingested again.

    Args:
        located: files by content.
        at_uris: what is stored at their URIs.
        on_failure: takes those left out.
    """
    left = dict[str, Sequence[Asset]]()
    for asset_id, copies in located.items():
        here = []
        for copy in copies:
            others = [row for row in at_uris.get(copy.uri, ()) if row.asset_id != asset_id]
            if _is_outrun(copy, others):
                on_failure(copy.uri, _changed(copy.uri))
            else:
                here.append(copy)
        if here:
            left[asset_id] = here
    return left


def _is_outrun(copy: Asset, others: Sequence[AssetRow]) -> bool:
    if copy.path or is_url(copy.uri) or is_object(copy.uri):  # unpacked or fetched
        return False
    path = Path(copy.uri)
    try:
        facts = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:  # it may be there
        return False
    file = File(path, facts.st_size, modified_s(facts))
    return any(file.is_in(row) for row in others)


def _changed(uri: str) -> MediaError:
    return MediaError(
        f"{uri} vanished or was changed while it was read.", remedy="Ingest it again."
    )

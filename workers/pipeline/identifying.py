"""From paths, URLs and archives to assets; one folder holds what is fetched or unpacked."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from encoder.errors import MediaError
from encoder.system.disk import temporary_folder
from ingest import identify
from ingest.config import IngestConfig
from ingest.kinds.archive import ARCHIVE
from ingest.kinds.registry import is_chosen, kind_of, left_out
from ingest.location import Location, inside
from ingest.sources.archives import identify_members
from ingest.sources.identity import identify_copy
from ingest.sources.objects import VERSIONS, ObjectFacts, Patience, fetch_all, version_of
from ingest.sources.urls import identify_url, is_url
from ingest.types import Asset
from search.filters import Compare, Operator, Or
from search.store.base import VectorStore
from search.types import AssetRow
from workers.pipeline.leaving import release

_AT_ONCE = 32


def nowhere(_path: str, _folder: Callable[[], Path]) -> None:
    """Fetch nothing: all uploads are on this disk."""


@dataclass
class Identifying:
    """Identifies the files of one shard.

    Args:
        config: limits.
        scratch: ends once the files are decoded.
        on_failure: takes what cannot be identified, by path or URI.
    """

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
                yield from self._if_chosen(asset)
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
        """Fetch objects, for `assets`, by the paths that were requested."""
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

    def _if_chosen(self, asset: Asset) -> Iterator[Asset]:
        if is_chosen(asset.media_type, self.config.kinds):
            yield asset
        else:
            self.on_failure(asset.uri, left_out(asset.uri, self.config.kinds))

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


def forget_members(
    store: VectorStore, archives: Sequence[str], located: Mapping[str, Sequence[Asset]]
) -> None:
    """Forget the places in these archives that no longer hold a file."""
    member_uris = {copy.uri for copies in located.values() for copy in copies}
    for at in range(0, len(archives), _AT_ONCE):
        members = tuple(inside(archive, "") for archive in archives[at : at + _AT_ONCE])
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

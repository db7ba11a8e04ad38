"""Decode query media in ingest's child processes, within their own limits."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath

from encoder.errors import InputError, MediaError, UnsupportedMediaError
from encoder.media.formats import is_sequence
from encoder.media.image import webp_bytes
from encoder.system.disk import temporary_folder, writing
from encoder.types import IMAGE, Item, Modality
from ingest import Asset, IngestConfig, Place, identify, picture, whole
from ingest.errors import SourceError
from ingest.kinds import kind_of
from ingest.kinds.charset import charset_of
from ingest.kinds.registry import kinds, label_of, named, names
from ingest.location import Location
from ingest.sources.archives import identify_members
from ingest.sources.objects import (
    VERSIONS,
    ObjectFacts,
    ObjectServer,
    Patience,
    fetch,
    is_object,
    version_of,
)
from ingest.sources.urls import download, is_url
from search.api.schemas import KindOut
from search.types import Labels

_MAX_TEXT_CHARS = 100_000
_PIECE_BYTES = 2**20
_MOST_COPIED_BYTES = 256 * 2**20
_MOST_S = 20.0
_PATIENCE_S = 2.0
_PREVIEW = 1024
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,16}")


@dataclass(frozen=True)
class QueryDecoder:
    """Implements `search.api.ports.Decoder`. Safe to use from threads."""

    config: IngestConfig
    files: IngestConfig
    max_frames: int = 16

    def decode(self, modality: Modality, data: bytes, label: str) -> Item:
        """Decode a whole picture, sound or film in memory; ``label`` is its name in errors.

        Of an animated picture, only the first frame is decoded.

        Raises:
            MediaError: not of this modality, corrupt, or over a limit.
            DiskError: there is no room for a temporary file.
        """
        with _held(data, "", label) as file:
            asset = identify(file, self.config)
            if modality == IMAGE and is_sequence(asset.media_type):
                return Item(IMAGE, picture(asset, Place(), self.config).content)
            if asset.modality != modality:
                raise UnsupportedMediaError(
                    f"{label} holds {asset.modality} ({asset.media_type}).",
                    remedy=f"Send {modality} there, or send this as {asset.modality}.",
                )
            return whole(asset, self.config, self.max_frames)

    def decode_file(self, kind_name: str, data: bytes, name: str, label: str) -> Item:
        """Decode a whole file of any kind in memory.

        Args:
            kind: what it is; if empty, what it looks like.
            name: what the client calls it; its suffix decides if the bytes say too little.

        Raises:
            InputError: there is no such kind.
            MediaError: not of this kind, corrupt, or over a limit.
            DiskError: there is no room for a temporary file.
        """
        check_kind_name(kind_name, f"{label}.kind")
        with _held(data, _suffix(kind_name, name), label) as file:
            return whole(identify(file, self.config, kind_name), self.config, self.max_frames)

    def decode_url(self, kind_name: str, url: str, label: str) -> Item:
        """Fetch a file and decode it, as `decode_file`.

        Raises:
            InputError: there is no such kind, or the URL is not http(s).
            MediaError: it may not or cannot be fetched, or is not as `decode_file` says.
            DiskError: there is no room for a temporary file.
        """
        check_kind_name(kind_name, f"{label}.kind")
        if not is_url(url):
            raise InputError(f"{label}.url", got=repr(url[:80]), wanted="http:// or https://")
        with temporary_folder("anymodal-query-") as folder:
            file = download(url, folder, self.config)
            try:
                return whole(identify(file, self.config, kind_name), self.config, self.max_frames)
            except MediaError as error:
                raise _renamed(error, str(file), url) from None

    def picture(self, path: Path, media_type: str, at_s: float, page: int, size: int) -> bytes:
        """A small WebP of what a file looks like: a film at a time, a document at a page.

        Raises:
            UnsupportedMediaError: it shows nothing.
            MediaError: it cannot be decoded.
        """
        asset = Asset(path.name, str(path), kind_of(media_type).modality, media_type, 0)
        config = self.files
        if size > _PREVIEW:  # so many pixels has the shorter side of a usual page
            config = config.model_copy(update={"image_short_side": size * 3 // 4})
        try:
            rgb = picture(asset, Place(at_s, page), config).content
        except MediaError as error:
            raise _renamed(error, str(path), path.name) from None
        return webp_bytes(rgb, size)

    @contextmanager
    def unpacked(self, location: str, asset_id: str) -> Iterator[Path]:
        """A file in an archive, in a temporary folder for the length of the block.

        Raises:
            MediaError: the archive or the file in it is gone, or has changed.
            DiskError: there is no room for it.
        """
        member_location = Location.of(location)
        archive = identify(Path(member_location.file), self.files)
        if not (member_location.members and kind_of(archive.media_type).holds_files):
            raise MediaError(f"{location} is in no archive.", remedy="Ingest it again.")
        with temporary_folder("anymodal-member-") as folder:
            members = identify_members(
                archive, folder, self.files, lambda _uri, _error: None, location
            )
            same = [Path(member.path) for member in members if member.asset_id == asset_id]
            if not same:
                raise MediaError(f"{location} has changed.", remedy="Ingest the archive again.")
            yield same[0]

    def remote(self, location: str, metadata: Labels) -> StoredObject | None:
        """What is at a location of an object store; None if it is not what was stored."""
        if not is_object(location):
            return None
        server = ObjectServer(location, self.files, Patience(_PATIENCE_S))
        try:
            facts = server.look(location)
        except MediaError:
            return None
        stored_version = version_of(metadata.get(VERSIONS), location)
        return StoredObject(facts, server) if facts and facts.version == stored_version else None

    @contextmanager
    def copied(self, location: str, metadata: Labels) -> Iterator[Path]:
        """A copy of that object, in a temporary folder for the length of the block.

        Raises:
            SourceError: it is gone, or not the one that was stored.
            MediaLimitError: it has more than 256 MiB, or takes longer than 20 s.
            DiskError: there is no room for it.
        """
        if (stored := self.remote(location, metadata)) is None:
            raise _changed(location)
        limits = {
            "max_url_bytes": min(self.files.max_url_bytes, _MOST_COPIED_BYTES),
            "max_url_s": min(self.files.max_url_s, _MOST_S),
        }
        with temporary_folder("anymodal-object-") as folder:
            limited = self.files.model_copy(update=limits)
            facts, file = fetch(stored.facts, stored.server, folder, limited)
            if facts != stored.facts:
                raise _changed(location)
            yield file

    def charset(self, path: Path, media_type: str) -> str:
        """The codec of a text file, as ingest detects it.

        Raises:
            MediaError: it cannot be read.
        """
        try:
            return charset_of(path, media_type)
        except MediaError as error:
            raise _renamed(error, str(path), path.name) from None


def check_kind_name(kind_name: str, argument: str) -> None:
    """Raise InputError, which names all kinds, unless this is one, or empty."""
    if kind_name and kind_name not in names():
        raise InputError(argument, got=repr(kind_name), wanted=f"one of {', '.join(names())}")


def kind_offers(modalities: Collection[Modality]) -> list[KindOut]:
    return [
        KindOut(
            name=file_kind.name,
            label=label,
            plural=plural,
            modality=str(file_kind.modality),
            formats=list(file_kind.formats),
            media_types=sorted(file_kind.media_types),
            suffixes=list(file_kind.suffixes),
            shows=file_kind.shows,
            queries=file_kind.modality in modalities,
            icon=file_kind.icon,
        )
        for file_kind in kinds()
        for label, plural in [label_of(file_kind)]
    ]


@contextmanager
def _held(data: bytes, suffix: str, label: str) -> Iterator[Path]:
    """The bytes as a file, since decoder processes take a path, not a gigabyte over a pipe.

    Errors in the block call the file by its label.
    """
    with temporary_folder("anymodal-query-") as folder:
        file = folder / f"query{suffix}"
        with writing(file):
            file.write_bytes(data)
        try:
            yield file
        except MediaError as error:
            raise _renamed(error, str(file), label) from None


def _suffix(kind_name: str, name: str) -> str:
    """The suffix of the name; if it has none, the usual suffix of the kind."""
    suffix = PurePath(name).suffix
    if not suffix and kind_name:
        suffix = next(iter(named(kind_name).suffixes), "")
    return suffix if _SUFFIX.fullmatch(suffix) else ""


def _renamed(error: MediaError, path: str, name: str) -> MediaError:
    return type(error)(error.problem.replace(path, name), remedy=error.remedy)


def query_config(config: IngestConfig, *, max_bytes: int, max_s: float) -> IngestConfig:
    """Limits for media that a client waits for. The files are ours, so any folder will do."""
    sizes = {file_kind.max_bytes for file_kind in kinds()} | {"max_url_bytes"}
    limits = {
        **dict.fromkeys(sizes, max_bytes),
        "max_text_chars": min(_MAX_TEXT_CHARS, config.max_text_chars),
        "max_duration_s": max_s,
        "max_decode_s": 10.0,
        "max_url_s": 10.0,
    }
    return config.model_copy(update={**limits, "roots": ()})


@dataclass(frozen=True)
class StoredObject:
    """An object that is unchanged since it was stored."""

    facts: ObjectFacts
    server: ObjectServer

    @property
    def size_bytes(self) -> int:
        return self.facts.size_bytes

    def pieces(self, start: int, end: int) -> Iterator[bytes]:
        """The bytes from ``start`` to before ``end``; each piece is read when it is requested.

        Raises:
            SourceError: while iterating: it is gone, is shorter now or cannot be read.
        """
        for at in range(start, end, _PIECE_BYTES):
            upto = min(at + _PIECE_BYTES, end)
            piece = self.server.read(self.facts.url, at, upto)
            if len(piece) != upto - at:
                raise _changed(self.facts.url)
            yield piece


def _changed(location: str) -> SourceError:
    return SourceError(f"{location} has changed.", remedy="Ingest it again.")

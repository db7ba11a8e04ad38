"""Uploaded files by the hash of their content, with their tags and metadata.

A file is stored at ``<root>/<store>/<two digits>/<asset id>/<name>``, next to a note of its tags
and metadata for ingest. The id is the asset's, known before it is ingested. Formerly
all stores shared ``<root>/<two digits>/…``, where files are still found.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import unicodedata
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from encoder.system.disk import writing
from encoder.system.private import private_folder, private_opener

_ID_BYTES = 16
_ID = re.compile(r"[0-9a-f]{32}")
_STORE = re.compile(r"[0-9a-f]{16}")
_NOTE = ".note.json"
KEEPER = ".key.json"
_OWNER = ".store"
_MAX_NAME_BYTES = 180
_STALE_S = 86_400


class Keeper(NamedTuple):
    """A key of the API: see `search.types.IngestRequest`."""

    key: str = ""
    within: Mapping[str, Any] | None = None


class UploadFolder:
    """The uploads of one store. Safe to use from threads and processes.

    Args:
        folder: created when needed.
        root: holds the folders of all stores; by default only this one.
        store: its name, noted in the folder for people who look into it.
    """

    def __init__(self, folder: Path, root: Path | None = None, store: str = "") -> None:
        self.folder = folder
        self.root = root or folder
        self.store = store

    def begin(self, name: str) -> Upload:
        """Receive a file that the client calls ``name``."""
        incoming = self.folder / "incoming"
        with writing(self.folder):
            if not incoming.is_dir():
                self.make()
                private_folder(incoming)
            return Upload(self, incoming / uuid.uuid4().hex, safe_name(name))

    def make(self) -> None:
        """Create the folder, with a note of its store."""
        private_folder(self.folder)
        if self.store:
            with open(self.folder / _OWNER, "w", opener=private_opener) as file:
                file.write(f"{self.store}\n")

    def admit(self, file: Path, facts: Mapping[str, Any]) -> None:
        """Raise if a file with these facts may not be kept at its place."""

    def mark(self, home: Path) -> None:
        """Note who brings a file, for what cannot be ingested at once."""
        (home / KEEPER).unlink(missing_ok=True)

    def keeper_of(self, asset_id: str) -> Keeper:
        """The key that brought an upload to this store, if it has a filter."""
        try:
            return Keeper(*json.loads((self.home_of(asset_id) / KEEPER).read_bytes()))
        except FileNotFoundError:
            return Keeper()

    def home_of(self, asset_id: str) -> Path:
        """The folder of an asset that was uploaded to this store."""
        return _home(self.folder, asset_id)

    def homes_of(self, asset_id: str) -> Iterator[Path]:
        """The folders of an asset, whichever store it was uploaded to."""
        for folder in [self.root, *_stores(self.root)]:
            if (home := _home(folder, asset_id)).is_dir():
                yield home

    def owner_of(self, path: str) -> str | None:
        """The asset id of a file uploaded to any store; None for a file that is elsewhere.

        Any store, because a server with a different address counts as a different store.
        """
        home = Path(path).parent
        if not _ID.fullmatch(home.name):
            return None
        folder = home.parent.parent
        is_ours = folder in (self.folder, self.root) or (
            folder.parent == self.root and _STORE.fullmatch(folder.name)
        )
        return home.name if is_ours and home == _home(folder, home.name) else None

    def owners_of(self, paths: Iterable[str]) -> list[str]:
        """The ids of the assets that the uploads among these paths become."""
        return list(dict.fromkeys(filter(None, map(self.owner_of, paths))))

    def is_upload(self, path: str) -> bool:
        """Whether a file was uploaded to any store."""
        return self.owner_of(path) is not None

    def holds(self, path: str) -> bool:
        """Whether a file was uploaded to this store."""
        return self.is_upload(path) and Path(path).is_relative_to(self.folder)

    def facts_of(self, path: str) -> Mapping[str, Any]:
        """The tags and metadata that came with an uploaded file; none for any other file."""
        if not self.owner_of(path):
            return {}
        try:
            facts: dict[str, Any] = json.loads((Path(path).parent / _NOTE).read_bytes())
        except FileNotFoundError:
            return {}
        return facts

    def files(self) -> Iterator[tuple[str, Path]]:
        """Asset ids and files of all uploads to this store."""
        for home in homes_in(self.folder):
            for path in files_in(home):
                yield home.name, path

    def sweep(self) -> None:
        """Remove partial uploads older than a day."""
        for partial in self.folder.glob("incoming/*"):
            if partial.stat().st_mtime < time.time() - _STALE_S:
                if partial.is_dir():  # of an upload whose removal was cut off
                    shutil.rmtree(partial, ignore_errors=True)
                else:
                    partial.unlink(missing_ok=True)

    def take(self, home: Path) -> list[Path]:
        """Link another store's upload into this folder; return its files here.

        The file system counts links: the content is removed with the last one.
        """
        mine = self.home_of(home.name)
        private_folder(mine)
        names = [_NOTE, KEEPER, *(path.name for path in files_in(home))]
        for name in names:
            with suppress(FileNotFoundError):  # there is no note
                _link(home / name, mine / name)
        return sorted(files_in(mine))

    def file_of(self, asset_id: str) -> Path | None:
        """The file of an upload to any store; None if there is none."""
        files = (path for home in self.homes_of(asset_id) for path in files_in(home))
        return next(files, None)

    def remove(self, asset_id: str, *, was_seen: bool = False) -> bool:  # noqa: ARG002
        """Remove an upload; return whether there was one. Other stores' uploads stay.

        ``was_seen``: whether the sender has just deleted the asset of this upload.
        """
        home = self.home_of(asset_id)
        if not (_ID.fullmatch(asset_id) and home.is_dir()):
            return False
        gone = self.folder / "incoming" / uuid.uuid4().hex
        private_folder(gone.parent)
        try:
            home.rename(gone)  # at once: what is uploaded meanwhile has a folder of its own
        except FileNotFoundError:
            return False
        shutil.rmtree(gone, ignore_errors=True)
        return True


def id_in_path(path: str) -> str | None:
    """The asset id in the path of an upload, whatever data folder it is in; else None.

    >>> id_in_path("/srv/uploads/" + "0" * 16 + "/ab/" + "ab" * 16 + "/a.txt") == "ab" * 16
    True
    >>> id_in_path("/srv/photos/a.txt")
    """
    *_, uploads, store, digits, asset_id, _ = ("", "", "", "", *Path(path).parts)
    is_one = uploads == "uploads" and _STORE.fullmatch(store) and digits == asset_id[:2]
    return asset_id if is_one and _ID.fullmatch(asset_id) else None


def homes_in(folder: Path) -> Iterator[Path]:
    """The folders of all assets in a store's folder."""
    yield from folder.glob("[0-9a-f][0-9a-f]/" + "[0-9a-f]" * 2 * _ID_BYTES)


def files_in(home: Path) -> Iterator[Path]:
    """The files of an asset, without the notes."""
    return (path for path in home.iterdir() if not path.name.startswith("."))


def _home(folder: Path, asset_id: str) -> Path:
    return folder / asset_id[:2] / asset_id


def _stores(root: Path) -> Iterator[Path]:
    return (path for path in root.glob("[0-9a-f]" * 16) if path.is_dir())


def _link(source: Path, target: Path) -> None:
    """Link atomically, even if others do the same; copy where there are no hard links."""
    partial = target.with_name(f".{uuid.uuid4().hex}")
    try:
        os.link(source, partial)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copy2(source, partial)
    partial.replace(target)


class Upload:
    """A file being written; hashed as it arrives, never held in memory."""

    def __init__(self, uploads: UploadFolder, partial: Path, name: str) -> None:
        from blake3 import blake3

        self.name = name
        self._uploads = uploads
        self._partial = partial
        self._hash = blake3()
        self._file = open(partial, "xb", opener=private_opener)  # noqa: SIM115 (closed by `keep` or `drop`)

    def write(self, data: bytes) -> None:
        """Append bytes. Raises DiskError."""
        self._hash.update(data)
        with writing(self._uploads.folder):
            self._file.write(data)

    def admit(self, facts: Mapping[str, Any]) -> None:
        """Raise if the file may not be kept."""
        self._uploads.admit(self._home() / self.name, facts)

    def _home(self) -> Path:
        return self._uploads.home_of(self._hash.hexdigest(length=_ID_BYTES))

    def end(self) -> None:
        """Sync and close the complete file: a form may have more files than a process may open."""
        if not self._file.closed:
            with writing(self._uploads.folder):
                self._file.flush()
                os.fsync(self._file.fileno())
                self._file.close()

    def keep(self, facts: Mapping[str, Any]) -> Path:
        """End the file and move it to the place for its content."""
        self.end()
        with writing(self._uploads.folder):
            return self._keep(facts)

    def _keep(self, facts: Mapping[str, Any]) -> Path:
        home = self._home()
        while True:
            try:
                return self._moved(home, facts)
            except FileNotFoundError:  # unless the file has gone, its folder was just removed
                if not self._partial.exists():
                    raise

    def _moved(self, home: Path, facts: Mapping[str, Any]) -> Path:
        private_folder(home)
        self._uploads.mark(home)
        if facts:
            note = self._partial.with_suffix(".json")
            with open(note, "w", opener=private_opener) as file:
                json.dump(facts, file)
            note.replace(home / _NOTE)
        return self._partial.replace(home / self.name)

    def drop(self) -> None:
        """Discard an incomplete file; does nothing to a kept one."""
        with suppress(OSError):  # what it could not write before, it cannot now
            self._file.close()
        self._partial.unlink(missing_ok=True)


def safe_name(name: str) -> str:
    """The last part of a client's file name, without special characters of file systems and shells.

    >>> safe_name("../../etc/pass\\nwd"), safe_name("C:\\\\photos\\\\a b.jpg"), safe_name("..")
    ('passwd', 'a b.jpg', 'file')
    """
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    printable = "".join(char for char in last if char.isprintable() and char not in '<>:"|?*')
    stem, dot, suffix = printable.strip(". ").rpartition(".")
    if not dot:
        stem, suffix = suffix, ""
    suffix = f".{suffix[:16]}" if suffix else ""
    room = _MAX_NAME_BYTES - len(suffix.encode(errors="ignore"))
    shortened_stem = stem.encode(errors="ignore")[:room].decode(errors="ignore")
    return f"{shortened_stem}{suffix}".encode(errors="ignore").decode() or "file"

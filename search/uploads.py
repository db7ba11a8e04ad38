"""Files that came over the network, by the hash of their content, with what was said of them.

A file lies at ``<folder>/<two digits>/<asset id>/<name>``, beside it a note of its tags and
metadata for whoever ingests it. The id is that of the asset, known before it is ingested.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import unicodedata
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_ID_BYTES = 16
_ID = re.compile(r"[0-9a-f]{32}")
_NOTE = ".note.json"
_MAX_NAME_BYTES = 180
_STALE_S = 86_400


class UploadFolder:
    """Where uploads lie. Safe to use from threads and processes.

    Args:
        folder: made when it is needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def begin(self, name: str) -> Upload:
        """Receive a file that the client calls ``name``."""
        incoming = self.folder / "incoming"
        incoming.mkdir(parents=True, exist_ok=True)
        return Upload(self, incoming / uuid.uuid4().hex, safe_name(name))

    def home_of(self, asset_id: str) -> Path:
        """The folder of an asset that was uploaded."""
        return self.folder / asset_id[:2] / asset_id

    def owner_of(self, path: str) -> str | None:
        """The asset id of an uploaded file; None for a file that lies elsewhere."""
        folder = Path(path).parent
        is_ours = _ID.fullmatch(folder.name) and folder == self.home_of(folder.name)
        return folder.name if is_ours else None

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
        """Asset ids and files of all uploads."""
        for home in self.folder.glob("[0-9a-f][0-9a-f]/*"):
            for path in home.iterdir():
                if path.name != _NOTE:
                    yield home.name, path

    def sweep(self) -> None:
        """Remove what came in part and was then left lying, more than a day ago."""
        for partial in self.folder.glob("incoming/*"):
            if partial.stat().st_mtime < time.time() - _STALE_S:
                partial.unlink(missing_ok=True)

    def remove(self, asset_id: str) -> bool:
        """Remove an upload; whether there was one."""
        home = self.home_of(asset_id)
        if not (_ID.fullmatch(asset_id) and home.is_dir()):
            return False
        shutil.rmtree(home, ignore_errors=True)
        return True


class Upload:
    """A file on its way to the disk; hashed as it comes, never held in memory."""

    def __init__(self, uploads: UploadFolder, partial: Path, name: str) -> None:
        from blake3 import blake3

        self.name = name
        self._uploads = uploads
        self._partial = partial
        self._hash = blake3()
        self._file = partial.open("xb")

    def write(self, data: bytes) -> None:
        """Append bytes."""
        self._hash.update(data)
        self._file.write(data)

    def keep(self, facts: Mapping[str, Any]) -> Path:
        """Close the file and put it, whole and synced, where its content belongs."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        home = self._uploads.home_of(self._hash.hexdigest(length=_ID_BYTES))
        home.mkdir(parents=True, exist_ok=True)
        if facts:
            note = self._partial.with_suffix(".json")
            note.write_text(json.dumps(facts))
            note.replace(home / _NOTE)
        return self._partial.replace(home / self.name)

    def drop(self) -> None:
        """Give up a file that did not come whole; does nothing to one that is kept."""
        self._file.close()
        self._partial.unlink(missing_ok=True)


def safe_name(name: str) -> str:
    """The last part of a client's file name, without what a file system or a shell may mistake.

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
    kept = stem.encode(errors="ignore")[:room].decode(errors="ignore")
    return f"{kept}{suffix}".encode(errors="ignore").decode() or "file"

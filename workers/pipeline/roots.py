"""The disks that ingested folders lie on: one that is not mounted must not look like deletions.

And the latest time that was seen: a clock that was put back must not look like months of absence.

Each machine has its own record, since the number of a device means nothing on another: in a store's
folder, or in this user's data for a store on a server. Each place has a file of its own, which is
replaced in one step, so that processes need no lock.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from encoder.system.mounts import mount_points
from search.store.folders import default_folder
from search.store.open import store_target

logger = logging.getLogger(__name__)

_NOTED_EVERY_S = 3600.0


@dataclass(frozen=True)
class Disk:
    """The file system at a place.

    ``filesystem`` is its id, which stays on most disks when the ``device`` gets another number;
    some network disks have none (0). ``inode`` is that of the place itself.
    """

    device: int
    filesystem: int
    inode: int
    is_mount: bool

    @classmethod
    def at(cls, folder: str) -> Disk | None:
        """The file system that is there now; None if nothing is, or if it may not be read."""
        try:
            facts, filesystem = os.stat(folder), os.statvfs(folder).f_fsid  # noqa: PTH116
        except (OSError, ValueError):
            return None
        return cls(
            facts.st_dev,
            filesystem,
            facts.st_ino,
            folder in mount_points() or os.path.ismount(folder),
        )

    def is_still(self, disk_now: Disk | None) -> bool:
        if disk_now is None:
            return False
        is_same = self.filesystem == disk_now.filesystem or self.device == disk_now.device
        # A mount point shows its own folder on the disk below once nothing is mounted there.
        return is_same and (
            not self.is_mount or (disk_now.is_mount and self.inode == disk_now.inode)
        )


class Roots:
    """Remembers the disks of ingested folders, and of the mount points in and above them.

    ``folder`` holds the record; None to keep it in this object.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._clock = folder and folder / "clock"
        self._latest_s = 0.0
        self._known: dict[str, Disk] = {}

    @classmethod
    def of(cls, store: str | None) -> Roots:
        """Those of the store at a URI; see `search.store.open.open_store`."""
        if store == "memory:":
            return cls()
        target = store_target(store)
        if isinstance(target, Path):
            return cls(target / "roots")
        server = sha256(target.rpartition("@")[2].encode()).hexdigest()[:16]
        return cls(default_folder().parent / "roots" / server)

    def latest_s(self) -> float:
        """The time now, or the latest that was seen here, if the clock is behind it."""
        try:
            noted_s = float(self._clock.read_text()) if self._clock else self._latest_s
        except (OSError, ValueError):  # none yet, or not readable: this is the latest then
            noted_s = 0.0
        now_s = time.time()
        if now_s > noted_s + _NOTED_EVERY_S:
            self._latest_s = now_s
            if self._clock:
                self._replace(self._clock, str(now_s))
        return max(now_s, noted_s)

    def changed(self, folder: str) -> list[str]:
        """The places in and around a folder that are no longer on the disk they were on.

        A folder in it that is gone, and was no mount point, was renamed or deleted.
        """
        return [
            mount
            for mount, disk in self._read().items()
            if (_is_in(mount, folder) or _is_in(folder, mount))
            and not disk.is_still(disk_now := Disk.at(mount))
            and (disk_now or disk.is_mount)
        ]

    def around(self, folder: str) -> dict[str, Disk | None]:
        """The disks now at a folder, and at what is or was a mount point in or above it."""
        points = mount_points()
        above = max((x for x in points if _is_in(folder, x)), key=len, default=folder)
        inner = {x for x in points | self._read().keys() if _is_in(x, folder)}
        return {point: Disk.at(point) for point in {folder, above} | inner - {"/"}}

    def note(
        self, folder: str, seen: Mapping[str, Disk | None], holds: Callable[[str], bool]
    ) -> None:
        """Remember the disks of a folder all of which was seen; forget places that are gone.

        Nothing changes unless they are still those that were `around` it before it was looked at.
        """
        if seen != self.around(folder):
            return
        disks = self._read()
        for point, disk in seen.items():
            is_inner = point != folder and _is_in(point, folder)
            if disk != disks.get(point) and (point in disks or not is_inner or holds(point)):
                self._write(point, disk)

    def _read(self) -> dict[str, Disk]:
        if self._folder is None:
            return dict(self._known)
        disks = {}
        for file in self._folder.glob("*.json"):
            try:
                facts = json.loads(file.read_text())
                folder = str(facts.pop("place"))
                disks[folder] = Disk(**facts)
            except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
                logger.warning("%s is passed over until the next ingest: %s", file, error)
        return disks

    def _write(self, folder: str, disk: Disk | None) -> None:
        if self._folder is None:
            self._known.pop(folder, None)
            self._known |= {folder: disk} if disk else {}
            return
        file = self._folder / f"{sha256(os.fsencode(folder)).hexdigest()[:16]}.json"
        self._replace(file, json.dumps({"place": folder, **asdict(disk)}) if disk else None)

    def _replace(self, file: Path, text: str | None) -> None:
        new_file = file.with_suffix(f".{os.getpid()}")
        try:
            if text is None:
                file.unlink(missing_ok=True)
                return
            file.parent.mkdir(parents=True, exist_ok=True)
            new_file.write_text(text)
            new_file.replace(file)
        except OSError as error:  # what was ingested is stored all the same
            logger.warning("%s cannot be noted: %s", file, error)


def _is_in(path: str, folder: str) -> bool:
    return f"{path}/".startswith(f"{folder.rstrip('/')}/")

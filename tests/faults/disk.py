"""Disks of a few megabytes that can be filled, freed and made read-only; mounting needs root."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Disk:
    """A mounted tmpfs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def resize(self, megabytes: float) -> None:
        """Change its size."""
        self._remount(f"size={round(megabytes * 1024)}k")

    def fill(self, leave_mb: int = 0) -> None:
        """Leave no byte free, or ``leave_mb``."""
        with (self.folder / ".filler").open("ab", buffering=0) as filler:
            for size in (2**20, 4096):
                try:
                    while shutil.disk_usage(self.folder).free > leave_mb * 2**20:
                        filler.write(bytes(size))
                except OSError:
                    continue

    def free(self) -> None:
        """Delete what `fill` wrote."""
        (self.folder / ".filler").unlink()

    def read_only(self, is_so: bool = True) -> None:
        """Refuse writes, or accept them again."""
        self._remount("ro" if is_so else "rw")

    def _remount(self, options: str) -> None:
        _run("mount", "-o", f"remount,{options}", self.folder)


@contextmanager
def small_disk(folder: Path, megabytes: float) -> Iterator[Disk]:
    """A disk mounted over a folder, which hides its contents, for the length of the block."""
    folder.mkdir(parents=True, exist_ok=True)
    _run("mount", "-t", "tmpfs", "-o", f"size={round(megabytes * 1024)}k", "tmpfs", folder)
    try:
        yield Disk(folder)
    finally:
        _run("umount", "--lazy", folder)


@contextmanager
def mounted(folder: Path, over: Path) -> Iterator[None]:
    """A folder mounted over another, which hides its contents, for the length of the block."""
    _run("mount", "--bind", folder, over)
    try:
        yield
    finally:
        _run("umount", "--lazy", over)


def _run(*words: str | os.PathLike[str]) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stderr} (mounting needs root)"

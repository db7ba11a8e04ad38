"""What was prepared from a model, ready to be opened: a folder that appears whole or not at all.

    <machine cache>/models/<name>-<hash>/    graphs, processor settings, and manifest.json: what
                                             made it, what was measured, and each file's sha256
    <machine cache>/models/tmp-<name>-…/     one that is being made, or that a kill left behind
    <machine cache>/models/.locks/           who makes what; a lock ends when its holder dies

The hash is that of its `Key`, so the same key leads to the same folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import mkdtemp
from time import perf_counter
from typing import Any, TypeAlias

from encoder.errors import ModelError
from encoder.system.cache import is_in_use, machine_cache
from encoder.system.disk import sha256_of, writing

MANIFEST = "manifest.json"
_FORMAT = 1
_SCRATCH = "tmp-"
_LOCKS = ".locks"
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")

Progress: TypeAlias = Callable[[str, float], None]
"""Called with the stage and the share done, 0 to 1."""
Write: TypeAlias = Callable[[Path, Progress], Mapping[str, Any]]
"""Fills an empty folder, and returns what the manifest says about it."""


@dataclass(frozen=True)
class Key:
    """What determines an artifact; if one of these differs, vectors or files may differ.

    Args:
        name: of the model, for people.
        source: which weights: a name with a commit, or a hash.
        precision: ``float32``, ``bf16``, ``int8`` or ``int4``.
        sparsity: which gate; empty for none.
        recipe: goes up when preparing gives different files from the same weights.
    """

    name: str
    source: str
    precision: str = "float32"
    sparsity: str = ""
    recipe: int = 1

    @property
    def folder_name(self) -> str:
        """The name and 16 hex digits."""
        facts = json.dumps(asdict(self), sort_keys=True)
        digits = hashlib.sha256(facts.encode()).hexdigest()[:16]
        return f"{_NOT_IN_NAMES.sub('-', self.name).strip('-.') or 'model'}-{digits}"


@dataclass(frozen=True)
class Artifact:
    """A prepared model.

    Args:
        folder: holds all its files.
        manifest: what made it and what it is; ``files`` has ``sha256`` and ``size_bytes`` of each
            by its path below the folder.
    """

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def size_bytes(self) -> int:
        """The size of all its files."""
        return sum(facts["size_bytes"] for facts in self.manifest["files"].values())


def artifacts_folder() -> Path:
    """Where artifacts are kept."""
    return machine_cache() / "models"


def find(key: Key) -> Artifact | None:
    """The artifact of a key; None if there is none, or one with files missing or cut short."""
    return _read(artifacts_folder() / key.folder_name)


def all_artifacts() -> list[Artifact]:
    """Every whole artifact on this machine, by name."""
    folders = sorted(path.parent for path in artifacts_folder().glob(f"*/{MANIFEST}"))
    found = (_read(path) for path in folders if not path.name.startswith(_SCRATCH))
    return [artifact for artifact in found if artifact]


def make(key: Key, write: Write, progress: Progress, *, spec: str) -> Artifact:
    """Find the artifact of a key, or make it; a damaged one is made again.

    Every file of an artifact that is found is read. Safe to call from several processes at once,
    where one makes it and the others wait, and to kill at any time: the next call removes what was
    left.

    Args:
        key: what it is made of.
        write: makes it.
        progress: called with the stage; with what is damaged; with ``wait`` while another
            process makes the same.
        spec: the name under which the model was asked for.

    Raises:
        ModelError: what ``write`` raises.
        DiskError: the machine's cache is full or may not be written to.
    """
    root = artifacts_folder()
    if found := _undamaged(root / key.folder_name, progress):
        return found
    with writing(root):
        (root / _LOCKS).mkdir(parents=True, exist_ok=True)
        _sweep(root)
        with _locked(root, key.folder_name, progress):
            found = _undamaged(root / key.folder_name, _silent)
            return found or _make(root, key, write, progress, spec)


def verify(artifact: Artifact) -> None:
    """Check every file's hash.

    Raises:
        ModelError: names each file that is missing or not what was written.
    """
    if wrong := _damage(artifact):
        spec, precision = artifact.manifest["spec"], artifact.manifest["key"]["precision"]
        again = f"`anymodal models prepare {spec} --precision {precision}`"
        raise ModelError(" ".join(wrong), remedy=f"Run {again} to make it again.")


def _damage(artifact: Artifact) -> list[str]:
    """What is wrong with its files, a sentence for each."""
    wrong = []
    for name, facts in artifact.manifest["files"].items():
        path = artifact.folder / name
        if not path.is_file():
            wrong.append(f"{path} is missing.")
        elif sha256_of(path) != facts["sha256"]:
            wrong.append(f"{path} is not what was written (its sha256 differs).")
    return wrong


def _undamaged(folder: Path, progress: Progress) -> Artifact | None:
    """The artifact in a folder if every byte is intact; reports a damaged one."""
    found = _read(folder)
    wrong = _damage(found) if found else [f"{folder} is incomplete."] * folder.exists()
    if wrong:
        progress(f"damaged, made again: {' '.join(wrong)}", 0.0)
    return None if wrong else found


def _silent(_stage: str, _share: float) -> None:
    """Report nothing."""


def remove(artifact: Artifact) -> None:
    """Remove the folder in one step: no process ever finds part of it.

    Raises:
        ModelError: a process has it open.
    """
    if is_in_use(artifact.folder):
        raise ModelError(
            f"{artifact.folder} is open in a process.",
            remedy="Stop the workers and servers that run this model, then remove it.",
        )
    with writing(artifact.folder.parent):
        prefix = f"{_SCRATCH}{artifact.folder.name}."  # as `_sweep` finds it, if this is killed
        scratch = Path(mkdtemp(prefix=prefix, dir=artifact.folder.parent))
        artifact.folder.rename(scratch / artifact.folder.name)
    shutil.rmtree(scratch, ignore_errors=True)


def describe_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Hash and size of each file below a folder, by its path there; links are followed."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): {
            "sha256": sha256_of(path),
            "size_bytes": path.stat().st_size,
        }
        for path in paths
    }


def are_whole(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether each file is there and has its size; nothing is read."""
    try:
        sizes = {name: (folder / name).stat().st_size for name in files}
    except OSError:
        return False
    return all(sizes[name] == facts["size_bytes"] for name, facts in files.items())


def _make(root: Path, key: Key, write: Write, progress: Progress, spec: str) -> Artifact:
    scratch = Path(mkdtemp(prefix=f"{_SCRATCH}{key.folder_name}.", dir=root))
    try:
        new, start = scratch / "new", perf_counter()
        new.mkdir()
        facts = write(new, progress)
        manifest = {
            "format": _FORMAT,
            "spec": spec,
            "key": asdict(key),
            "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "took_s": round(perf_counter() - start, 1),
            **facts,
            "files": describe_files(new),
        }
        text = json.dumps(manifest, indent=1, ensure_ascii=False)
        (new / MANIFEST).write_text(text, "utf-8")
        _to_disk(new)
        target = root / key.folder_name
        if target.exists():  # damaged; a folder that is not empty cannot be replaced in one rename
            target.rename(scratch / "old")
        new.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    made = _read(target)
    if made is None:
        raise ModelError(f"{target} was changed while it was made.", remedy="Prepare it again.")
    return made


def _to_disk(folder: Path) -> None:
    """Sync all files; otherwise a power cut may leave files of the right size that hold nothing."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def _read(folder: Path) -> Artifact | None:
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text("utf-8"))
        known = manifest["format"] == _FORMAT and are_whole(folder, manifest["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Artifact(folder, manifest) if known else None


@contextmanager
def _locked(root: Path, name: str, progress: Progress) -> Iterator[None]:
    """Let in one process at a time; the lock is released when its holder dies."""
    from filelock import FileLock, Timeout

    lock = FileLock(root / _LOCKS / name)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress("wait", 0.0)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _sweep(root: Path) -> None:
    """Remove what killed processes left behind; what is still being made is locked."""
    from filelock import FileLock, Timeout

    for scratch in root.glob(f"{_SCRATCH}*.*"):
        name = scratch.name.removeprefix(_SCRATCH).rpartition(".")[0]
        try:
            with FileLock(root / _LOCKS / name, timeout=0):
                shutil.rmtree(scratch, ignore_errors=True)
        except Timeout:
            continue

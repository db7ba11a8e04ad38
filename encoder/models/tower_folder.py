"""A folder with one quantized tower, as ``anymodal quantize`` writes it and serving reads it.

<folder>/model.onnx       what serves
<folder>/manifest.json    which tower of which model it is, and the hash of model.onnx
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from encoder.errors import ModelError
from encoder.models.hashing import sha256_of

MANIFEST = "manifest.json"
ONNX = "model.onnx"


def write_manifest(folder: Path, model: str, tower: str) -> None:
    """Say which tower's ``model.onnx`` a folder holds."""
    manifest = {"model": model, "tower": tower, "sha256": sha256_of(folder / ONNX)}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1), "utf-8")


def read_manifest(folder: Path) -> Mapping[str, str]:
    """Which tower a folder holds: ``model``, ``tower`` and the ``sha256`` of its ``model.onnx``.

    Raises:
        ModelError: it holds none.
    """
    try:
        manifest: dict[str, str] = json.loads((folder / MANIFEST).read_text("utf-8"))
        return {key: manifest[key] for key in ("model", "tower", "sha256")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{folder} holds no quantized tower: {error!r}.",
            remedy="Make one with `anymodal quantize --out FOLDER`.",
        ) from error


def check(folder: Path) -> Mapping[str, str]:
    """The manifest, after the hash of ``model.onnx`` was checked.

    Raises:
        ModelError: the folder holds no quantized tower, or another one than it says.
    """
    manifest = read_manifest(folder)
    network = folder / ONNX
    if not network.is_file() or sha256_of(network) != manifest["sha256"]:
        raise ModelError(
            f"{network} is missing, or not what {folder / MANIFEST} tells of.",
            remedy="Make the folder again with `anymodal quantize`.",
        )
    return manifest

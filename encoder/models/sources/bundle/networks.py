"""The networks of parts as files."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypedDict

FLOAT, INT8 = "model.onnx", "model.int8.onnx"
"""Files of a part; a part without the second always runs in float32."""


class Files(TypedDict):
    """The files of an `encoder.models.precision.Network`."""

    float32: Path
    int8: Path | None
    sha256: Callable[[], str]


def files_of(folder: Path) -> Files:
    """The files of the network in a part's folder."""
    int8 = folder / INT8
    return {
        "float32": folder / FLOAT,
        "int8": int8 if int8.exists() else None,
        "sha256": partial(_known_hash, int8),
    }


def _known_hash(path: Path) -> str:
    """The hash in the part's manifest; hashing the file again would take longer."""
    manifest = json.loads((path.parent / "manifest.json").read_text("utf-8"))
    return str(manifest["files"][path.name]["sha256"])

"""The bundle as an artifact among others; its files stay where `fetch` put them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from encoder.errors import BundleError
from encoder.models.artifact import MANIFEST, Artifact
from encoder.models.sources.bundle.folder import location
from encoder.models.sources.bundle.model import load
from encoder.models.sources.bundle.networks import SPEC
from encoder.models.sources.bundle.parts import PARTS
from encoder.towers.text import MAX_TOKENS


def find_bundle() -> Artifact | None:
    """The bundle, if it was fetched and is of this version."""
    try:
        folder = location()
    except BundleError:
        return None
    files: dict[str, dict[str, Any]] = {}
    for part in PARTS:
        manifest = json.loads((folder / part.name / MANIFEST).read_text("utf-8"))
        files |= {f"{part.name}/{name}": facts for name, facts in manifest["files"].items()}
    return Artifact(folder, {**_facts(folder), "files": files})


def _facts(folder: Path) -> dict[str, Any]:
    model = load(quantization="auto", enable_dsre="auto")
    changed_s = (folder / PARTS[0].name / MANIFEST).stat().st_mtime
    return {
        "spec": SPEC,
        "key": {
            "name": SPEC,
            "source": {part.name: part.identity for part in PARTS},
            "precision": "float32, int8",
            "recipe": {part.name: part.recipe for part in PARTS},
        },
        "made_at": datetime.fromtimestamp(changed_s, UTC).isoformat(timespec="seconds"),
        "space": {
            "embed_dim": model.space.embed_dim,
            "fingerprint": model.space.fingerprint,
            "identity": dict(model.space.identity),
        },
        "modalities": list(model.towers),
        "limits": {"window_tokens": MAX_TOKENS},
        "licence": {part.name: part.licence for part in PARTS},
    }

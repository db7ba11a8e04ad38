"""Bundles as artifacts among others; their files stay where `fetch` put them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from encoder.errors import BundleError
from encoder.models.artifacts.artifact import MANIFEST, Artifact
from encoder.models.sources.bundle.declaration import Bundle, all_bundles
from encoder.models.sources.bundle.folder import location
from encoder.models.sources.bundle.model import load


def find_bundles() -> list[Artifact]:
    """The bundles that were fetched and are of this version."""
    found = map(_found, all_bundles())
    return [artifact for artifact in found if artifact]


def _found(bundle: Bundle) -> Artifact | None:
    try:
        folder = location(bundle)
    except BundleError:
        return None
    files: dict[str, dict[str, Any]] = {}
    for name in bundle.parts:
        manifest = json.loads((folder / name / MANIFEST).read_text("utf-8"))
        files |= {f"{name}/{file}": facts for file, facts in manifest["files"].items()}
    return Artifact(folder, {**_facts(bundle, folder), "files": files})


def _facts(bundle: Bundle, folder: Path) -> dict[str, Any]:
    model = load(bundle, quantization="auto", enable_dsre="auto")
    changed_s = max((folder / name / MANIFEST).stat().st_mtime for name in bundle.parts)
    parts = bundle.parts.values()
    return {
        "spec": bundle.spec,
        "key": {
            "name": bundle.spec,
            "source": {part.name: part.identity for part in parts},
            "precision": ", ".join(bundle.precisions),
            "recipe": {part.name: part.recipe for part in parts},
        },
        "made_at": datetime.fromtimestamp(changed_s, UTC).isoformat(timespec="seconds"),
        "space": {
            "embed_dim": model.space.embed_dim,
            "fingerprint": model.space.fingerprint,
            "identity": dict(model.space.identity),
        },
        "modalities": list(model.towers),
        "limits": {"window_tokens": bundle.window_tokens},
        "licence": {part.name: part.licence for part in parts},
    }

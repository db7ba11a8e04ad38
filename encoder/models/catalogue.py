"""All models that are ready on this machine, wherever they came from."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from encoder.errors import BundleError, ModelError
from encoder.models.artifacts import MANIFEST, Artifact, all_artifacts
from encoder.models.bundle.declaration import Bundle, all_bundles, location
from encoder.models.bundle.model import load
from encoder.models.spec import ModelSpec


def all_models() -> list[Artifact]:
    """The bundles that were fetched, and every artifact."""
    return find_bundles() + all_artifacts()


def find_model(name: str, precision: str | None = None) -> Artifact:
    """The one model that a name stands for.

    That is what it was prepared from (``bundle:english``, ``hf:org/name``), its folder's name or
    path, or the hash at the end of it; ``precision`` tells apart what was prepared in several.

    Raises:
        ModelError: none, or several, or there is no such bundle.
    """
    if name.startswith("bundle:"):
        name = str(ModelSpec.parse(name))
    models = all_models()
    matching = [
        model
        for model in models
        if _is_called(model, name) and precision in (None, model.manifest["key"]["precision"])
    ]
    if len(matching) == 1:
        return matching[0]
    if not matching:
        there = ", ".join(model.manifest["spec"] for model in models) or "none"
        raise ModelError(
            f"No prepared model is called {name}; there are: {there}.",
            remedy=f"Run `anymodal models prepare {name}`, or see `anymodal models list`.",
        )
    folders = ", ".join(model.folder.name for model in matching)
    raise ModelError(f"{len(matching)} models are called {name}.", remedy=f"Name one of {folders}.")


def _is_called(artifact: Artifact, name: str) -> bool:
    spec, folder = artifact.manifest["spec"], artifact.folder
    digits = folder.name.rpartition("-")[2]
    if name.startswith("dir:"):
        name = f"dir:{Path(name.removeprefix('dir:')).expanduser().absolute()}"
    return name in (spec, spec.partition("@")[0], folder.name, str(folder), digits)


def find_bundles() -> list[Artifact]:
    """The bundles that were fetched and are of this version."""
    artifacts = []
    for bundle in all_bundles():
        with suppress(BundleError):
            folder = location(bundle)
            artifacts.append(Artifact(folder, _manifest_of(bundle, folder)))
    return artifacts


def _manifest_of(bundle: Bundle, folder: Path) -> dict[str, Any]:
    files: dict[str, dict[str, Any]] = {}
    changed_s = 0.0
    for name in bundle.parts:
        manifest = folder / name / MANIFEST
        facts_of_files = json.loads(manifest.read_text("utf-8"))["files"]
        files |= {f"{name}/{file}": facts for file, facts in facts_of_files.items()}
        changed_s = max(changed_s, manifest.stat().st_mtime)
    model = load(bundle, quantization="auto", enable_dsre="auto")
    parts = bundle.parts.values()
    return {
        "spec": bundle.spec,
        "key": {
            "name": bundle.spec,
            "source": {bundle_part.name: bundle_part.identity for bundle_part in parts},
            "precision": ", ".join(bundle.precisions),
            "recipe": {bundle_part.name: bundle_part.recipe for bundle_part in parts},
        },
        "made_at": datetime.fromtimestamp(changed_s, UTC).isoformat(timespec="seconds"),
        "space": {
            "embed_dim": model.space.embed_dim,
            "fingerprint": model.space.fingerprint,
            "identity": dict(model.space.identity),
        },
        "modalities": list(model.towers),
        "limits": {"window_tokens": bundle.window_tokens},
        "languages": "en" if bundle.name == "english" else "about 100",
        "licence": {bundle_part.name: bundle_part.licence for bundle_part in parts},
        "files": files,
    }

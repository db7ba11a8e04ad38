"""All models that are ready on this machine, wherever they came from."""

from __future__ import annotations

from pathlib import Path

from encoder.errors import ModelError
from encoder.models.artifacts.artifact import Artifact, all_artifacts
from encoder.models.sources.bundle.artifact import find_bundles
from encoder.models.spec import ModelSpec


def all_models() -> list[Artifact]:
    """The bundles that were fetched, and every artifact."""
    return find_bundles() + all_artifacts()


def find_model(name: str, precision: str | None = None) -> Artifact:
    """The one model that a name stands for.

    Args:
        name: what it was prepared from (``bundle:english``, ``hf:org/name``), or its folder's
            name or path, or the hash at the end of it.
        precision: which one, where it was prepared in several.

    Raises:
        ModelError: none, or several, or there is no such bundle.
    """
    if name.startswith("bundle:"):
        name = str(ModelSpec.parse(name))
    known = all_models()
    found = [
        one
        for one in known
        if _is_called(one, name) and precision in (None, one.manifest["key"]["precision"])
    ]
    if len(found) == 1:
        return found[0]
    if not found:
        there = ", ".join(one.manifest["spec"] for one in known) or "none"
        raise ModelError(
            f"No prepared model is called {name}; there are: {there}.",
            remedy=f"Run `anymodal models prepare {name}`, or see `anymodal models list`.",
        )
    folders = ", ".join(one.folder.name for one in found)
    raise ModelError(f"{len(found)} models are called {name}.", remedy=f"Name one of {folders}.")


def _is_called(artifact: Artifact, name: str) -> bool:
    spec, folder = artifact.manifest["spec"], artifact.folder
    digits = folder.name.rpartition("-")[2]
    if name.startswith("dir:"):
        name = f"dir:{Path(name.removeprefix('dir:')).expanduser().absolute()}"
    return name in (spec, spec.partition("@")[0], folder.name, str(folder), digits)

"""Hub models that run as artifacts: found, prepared where there is none, opened without torch."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from encoder.errors import MissingExtraError, ModelError
from encoder.extras import is_installed
from encoder.models import artifact
from encoder.models.artifact import Artifact, Key, Progress
from encoder.models.base import Model
from encoder.models.exported import open_exported
from encoder.models.in_use import hold
from encoder.models.sources.hub_files import fetch, hash_files
from encoder.models.spec import ModelSpec
from encoder.space import Space

FLOAT32 = "float32"
PRECISIONS = (FLOAT32, "int8", "int4", "bf16")

_RECIPE = 1
"""Raise it when preparing gives other files from the same weights."""

_AUTO = ("int8", FLOAT32)
"""What ``auto`` takes, if it was prepared."""

_TOOLS = ("torch", "sentence_transformers", "transformers", "onnxscript")

_log = logging.getLogger(__name__)


def load(spec: ModelSpec, quantization: str | None, n_threads: int | None) -> Model | None:
    """Open what was prepared; prepare it first, if a precision is asked for.

    Args:
        spec: a hub model or a folder.
        quantization: None and ``auto`` take what there is: float32, or int8 before float32;
            ``bf16`` too, as torch runs it.
        n_threads: threads of one network; None for every core.

    Returns:
        None if nothing was prepared and torch can run what is asked for.

    Raises:
        ModelError: it cannot be prepared here, or not in this precision.
    """
    wanted = {None: (FLOAT32,), "auto": _AUTO}.get(quantization, (quantization or "",))
    for precision in wanted:
        if found := find(spec, precision):
            return open_artifact(found, n_threads)
    if quantization in (None, "auto", "bf16"):  # torch runs these
        return None
    return open_artifact(prepare(spec, wanted[0], _tell), n_threads)


def find(spec: ModelSpec, precision: str) -> Artifact | None:
    """The artifact of a model; of a hub model without a revision, the one prepared last.

    The hub is not asked: what was prepared serves until it is prepared anew.
    """
    if spec.kind == "dir":
        return artifact.find(_key(spec, Path(spec.name), precision))
    found = [one for one in artifact.all_artifacts() if _is_of(one.manifest, spec, precision)]
    return max(found, key=lambda one: str(one.manifest["made_at"]), default=None)


def prepare(spec: ModelSpec, precision: str, progress: Progress) -> Artifact:
    """Fetch a model, export its networks, and compare them with float32.

    Args:
        spec: a hub model or a folder.
        precision: one of `PRECISIONS`.
        progress: is told the stage and the share of all that is done.

    Raises:
        ModelError: an unknown precision; no tools to prepare with; not found; or the result is
            too far from float32.
    """
    if precision not in PRECISIONS:
        raise ModelError(
            f"quantization={precision!r} is no precision of {spec}.",
            remedy=f'Use None, "auto" or one of {", ".join(PRECISIONS[1:])}.',
        )
    _require_tools(spec, precision)
    progress("fetch", 0.0)
    is_folder = spec.kind == "dir"
    source = Path(spec.name) if is_folder else fetch(spec.name, spec.revision)
    where = {} if is_folder else {"model": spec.name, "revision": source.name}

    def write(folder: Path, report: Progress) -> Mapping[str, Any]:
        from encoder.models.prepare.hub import prepare_hub

        exact = None if precision == FLOAT32 else precision
        facts = prepare_hub(source, folder, exact, report, name=where.get("model", ""))
        return {"revision": spec.revision, **_described(facts, where), "licence": _licence(source)}

    return artifact.make(_key(spec, source, precision), write, progress, spec=str(spec))


def open_artifact(found: Artifact, n_threads: int | None = None) -> Model:
    """Open an artifact that `prepare` made; its folder is in use while the model lives."""
    identity = found.manifest["space"]["identity"]
    model = open_exported(found.folder, n_threads, identity=identity)
    hold(found.folder, model)
    return model


def _key(spec: ModelSpec, source: Path, precision: str) -> Key:
    if spec.kind == "dir":
        return Key(source.name, f"blake3:{hash_files(source)}", precision, recipe=_RECIPE)
    return Key(spec.name, f"{spec.name}@{source.name}", precision, recipe=_RECIPE)


def _is_of(manifest: Mapping[str, Any], spec: ModelSpec, precision: str) -> bool:
    key = manifest["key"]
    name, _, commit = key["source"].partition("@")
    same = (name, key["precision"], key["recipe"]) == (spec.name, precision, _RECIPE)
    return same and spec.revision in (None, commit, manifest["revision"])


def _described(facts: Mapping[str, Any], where: Mapping[str, str]) -> dict[str, Any]:
    """What the manifest says of an exported model.

    Its space is that of the same model run through torch, if both are float32.
    """
    own = dict(facts["identity"])
    if where:
        own.pop("weights", None)  # the commit says it
    if "quantization" in own:
        own["quantization"] += f" recipe:{_RECIPE}"
    space = Space(facts["embed_dim"], {**where, **own})
    return {
        "space": {
            "embed_dim": space.embed_dim,
            "fingerprint": space.fingerprint,
            "identity": dict(space.identity),
        },
        "cuts": list(facts["cuts"]),
        "modalities": list(facts["modalities"]),
        "prompts": facts["prompts"],
        "limits": {
            "window_tokens": facts.get("text", {}).get("format", {}).get("max_tokens"),
            "window_s": facts.get("audio", {}).get("window_s"),
            "max_frames": facts.get("video", {}).get("max_frames"),
        },
        "measured": facts["measured"],
    }


def _licence(source: Path) -> str | None:
    """What the model's card says, if it came along."""
    card = source / "README.md"
    if not card.is_file():
        return None
    head = card.read_text("utf-8", errors="replace").split("---")
    lines = head[1].splitlines() if len(head) > 2 else []
    named = (line.partition(":") for line in lines)
    return next((value.strip() for name, _, value in named if name == "license"), None)


def _require_tools(spec: ModelSpec, precision: str) -> None:
    if missing := [name for name in _TOOLS if not is_installed(name)]:
        raise MissingExtraError(
            f"Preparing {spec} in {precision}",
            missing,
            f"pip install 'anymodal[torch]', then `anymodal models prepare {spec} "
            f"--precision {precision}`",
        )


def _tell(stage: str, share: float) -> None:
    _log.info("preparing the model: %s (%.0f %%)", stage, 100 * share)

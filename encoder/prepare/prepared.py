"""Hub models that run as artifacts: found, prepared where there is none, opened without torch.

Towers that ``anymodal models quantize`` made may replace some of an artifact's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from encoder.errors import MissingExtraError, ModelError
from encoder.models import artifacts, tower_folder
from encoder.models.artifacts import FLOAT32, PRECISIONS, Artifact, ArtifactKey, Progress
from encoder.models.exported import open_exported, read_facts
from encoder.models.sources import ModelSource, folder_identity, is_of, locate, of_card
from encoder.models.spec import ModelSpec
from encoder.prepare.hub.prepare import prepare_hub
from encoder.space import space_of_gate
from encoder.system.cache import hold
from encoder.system.extras import install_command, is_installed
from encoder.towers.model import Model

_RECIPE = 2
"""Raise it when preparing gives different files from the same weights."""

AUTO = ("int8", FLOAT32)
"""What ``auto`` takes, if it was prepared."""

_TOOLS = ("torch", "sentence_transformers", "transformers", "onnxscript")

_log = logging.getLogger(__name__)


def load(
    spec: ModelSpec,
    quantization: str | None,
    n_threads: int | None,
    *,
    sparsity: str = "",
    make: Callable[[ModelSpec, str, Progress], Artifact] | None = None,
) -> Model | None:
    """Open what was prepared; if a precision is named, prepare it first where needed.

    Args:
        spec: a hub model or a folder.
        quantization: None and ``auto`` only take what was prepared: float32, or int8 before
            float32; so does ``bf16``, as torch can run it.
        n_threads: threads of one network; None for every core.
        sparsity: see `Key`.
        make: instead of `prepare`, for what torch cannot run.

    Returns:
        None if nothing was prepared and torch can run what is asked for.

    Raises:
        ModelError: it cannot be prepared here, or not in this precision.
    """
    allowed = precisions_for(quantization)
    for precision in allowed:
        if artifact := find(spec, precision, sparsity):
            return open_artifact(artifact, n_threads)
    if make is None and quantization in (None, "auto", "bf16"):  # torch runs these
        return None
    return open_artifact((make or prepare)(spec, allowed[-1], tell), n_threads)


def precisions_for(quantization: str | None) -> tuple[str, ...]:
    """The precisions that are looked for, the best one first."""
    return {None: (FLOAT32,), "auto": AUTO}.get(quantization, (quantization or "",))


def find(spec: ModelSpec, precision: str, sparsity: str = "") -> Artifact | None:
    """The artifact of a model; for a hub model without a revision, the one prepared last.

    The hub is not contacted: an artifact serves until it is prepared again.

    Args:
        spec: a hub model or a folder.
        precision: one of `PRECISIONS`.
        sparsity: see `ArtifactKey`.
    """
    if spec.kind == "dir":
        return artifacts.find(key_of(spec, folder_identity(Path(spec.name)), precision, sparsity))
    properties = (precision, sparsity, _RECIPE)
    artifacts_of_model = [
        artifact
        for artifact in artifacts.all_artifacts()
        if _is_of(artifact.manifest, spec, properties)
    ]
    return max(
        artifacts_of_model, key=lambda artifact: str(artifact.manifest["made_at"]), default=None
    )


def prepare(spec: ModelSpec, precision: str, progress: Progress) -> Artifact:
    """Fetch a model, export its networks, and compare them with float32.

    Args:
        spec: a hub model or a folder.
        precision: one of `PRECISIONS`.
        progress: called with the stage and the share done.

    Raises:
        ModelError: an unknown precision; no tools to prepare with; not found; or the result is
            too far from float32.
    """
    if precision not in PRECISIONS:
        raise ModelError(
            f"quantization={precision!r} is not a precision of {spec}.",
            remedy=f'Use None, "auto", one of {", ".join(PRECISIONS[1:])}, or a folder made by '
            "`anymodal models quantize`.",
        )
    _require_tools(spec, precision)
    progress("fetch", 0.0)
    source = locate(spec)

    def write(folder: Path, report: Progress) -> Mapping[str, Any]:

        exact = None if precision == FLOAT32 else precision
        facts = prepare_hub(
            source.folder, folder, exact, report, name=source.where.get("model", "")
        )
        described = _described(facts, source)
        return {"revision": spec.revision, **described, **of_card(source.folder)}

    return artifacts.make(key_of(spec, source.identity, precision), write, progress, spec=str(spec))


def open_artifact(artifact: Artifact, n_threads: int | None = None) -> Model:
    """Open an artifact that `prepare` made; its folder counts as in use while the model lives."""
    identity = artifact.manifest["space"]["identity"]
    model = open_exported(artifact.folder, n_threads, identity=identity)
    hold(artifact.folder, model)
    return model


def space_identity(facts: Mapping[str, Any], source: ModelSource) -> dict[str, str]:
    """The identity of an exported model's space.

    It equals that of the same model run through torch, if both are float32.
    """
    identity = dict(facts["identity"])
    if source.where:
        identity.pop("weights", None)  # the commit says it
    return {**source.where, **identity}


def key_of(spec: ModelSpec, identity: str, precision: str, sparsity: str = "") -> ArtifactKey:
    """The key of a model's artifact; ``identity`` is that of its weights."""
    name = Path(spec.name).name if spec.kind == "dir" else spec.name
    return ArtifactKey(name, identity, precision, sparsity, recipe=_RECIPE)


def _is_of(manifest: Mapping[str, Any], spec: ModelSpec, properties: tuple[str, str, int]) -> bool:
    key = manifest["key"]
    same = (key["precision"], key["sparsity"], key["recipe"]) == properties
    return same and is_of(spec, key["source"], manifest["revision"])


def _described(facts: Mapping[str, Any], source: ModelSource) -> dict[str, Any]:
    """What the manifest says about an exported model."""
    identity = space_identity(facts, source)
    if "quantization" in identity:
        identity["quantization"] += f" recipe:{_RECIPE}"
    return {
        "space": described_space(facts["embed_dim"], identity),
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


def described_space(embed_dim: int, identity: Mapping[str, str]) -> dict[str, Any]:
    """What a manifest says about the space of a model."""
    fingerprint = space_of_gate(embed_dim, identity).fingerprint
    return {"embed_dim": embed_dim, "fingerprint": fingerprint, "identity": dict(identity)}


def _require_tools(spec: ModelSpec, precision: str) -> None:
    if missing := [name for name in _TOOLS if not is_installed(name)]:
        raise MissingExtraError(
            f"Preparing {spec} in {precision}",
            missing,
            f"{install_command('torch')}, then `anymodal models prepare {spec} "
            f"--precision {precision}`",
        )


def tell(stage: str, share: float) -> None:
    """Write the progress to the log."""
    _log.info("preparing the model: %s (%.0f %%)", stage, 100 * share)


def load_quantized(spec: ModelSpec, folder: Path, n_threads: int | None) -> Model:
    """Open a model with the quantized towers in a folder.

    Other towers come from the model's artifact in int8, else from the one in float32; if there is
    neither, the model is prepared in int8.

    Args:
        spec: a hub model or a folder of its layout.
        folder: what ``anymodal models quantize --out`` wrote, or a folder of such folders.
        n_threads: threads of one network; None for every core.

    Raises:
        ModelError: the folder is damaged, or of a different model; or the model must be prepared
            first and cannot be.
    """
    towers = tower_folder.check_all(folder)
    for tower, manifest in towers.items():
        _check_model(spec, tower, manifest)
    first = next(iter(towers))
    facts = read_facts(first)
    graphs = {
        f"{manifest['tower']}.onnx": tower / tower_folder.ONNX for tower, manifest in towers.items()
    }
    needed = {facts[modality]["graph"] for modality in facts["modalities"]}
    identity = {f"{m['tower']}": f"sha256:{m['sha256']}" for m in towers.values()}
    prepared_others = None
    if missing := sorted(needed - graphs.keys()):
        prepared_others = _others_of(spec)
        graphs |= {graph: prepared_others.folder / graph for graph in missing}
        identity["others"] = prepared_others.manifest["space"]["identity"].get(
            "quantization", "float32"
        )
    quantization = " ".join(f"{name} {value}" for name, value in sorted(identity.items()))
    model = open_exported(
        first,
        n_threads,
        identity={**towers[first]["identity"], "quantization": quantization},
        graphs=graphs,
    )
    for used in [*towers, *([prepared_others.folder] if prepared_others else [])]:
        hold(used, model)
    return model


def _check_model(spec: ModelSpec, folder: Path, manifest: Mapping[str, Any]) -> None:
    source = manifest.get("source")
    if source is None or not is_of(spec, source, manifest["revision"]):
        raise ModelError(
            f"{folder} holds the {manifest['tower']} tower of {manifest['model']}"
            f"{f' ({source})' if source else ''}, not of {spec}.",
            remedy=f"Run `anymodal models quantize --model {spec} --tower {manifest['tower']} "
            "--out FOLDER`, or name the model that it belongs to.",
        )


def _others_of(spec: ModelSpec) -> Artifact:
    """The artifact that the towers come from that were not quantized."""
    for precision in AUTO:
        if artifact := find(spec, precision):
            return artifact
    return prepare(spec, AUTO[0], tell)

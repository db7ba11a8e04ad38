"""Hub models of which ``anymodal models quantize`` made some towers; the others run as prepared."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from encoder.errors import ModelError
from encoder.models import tower_folder
from encoder.models.artifacts import Artifact
from encoder.models.exported import open_exported, read_facts
from encoder.models.sources import is_of
from encoder.models.spec import ModelSpec
from encoder.prepare import prepared
from encoder.system.cache import hold
from encoder.towers.model import Model

_KNOWN = ("auto", *prepared.PRECISIONS)


def folder_named(quantization: str | None) -> Path | None:
    """The folder that ``quantization=`` names; None for a precision or a missing folder."""
    if quantization is None or quantization in _KNOWN:
        return None
    folder = Path(quantization).expanduser()
    return folder if folder.is_dir() else None


def load(spec: ModelSpec, folder: Path, n_threads: int | None) -> Model:
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
        prepared_others = _prepared(spec)
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


def _prepared(spec: ModelSpec) -> Artifact:
    for precision in prepared.AUTO:
        if artifact := prepared.find(spec, precision):
            return artifact
    return prepared.prepare(spec, prepared.AUTO[0], prepared.tell)

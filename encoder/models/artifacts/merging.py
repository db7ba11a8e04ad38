"""Artifacts with a token gate: the files of the dense one, the gate, and a graph that merges."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

from encoder.errors import ModelError
from encoder.models.artifacts import artifact, prepared
from encoder.models.artifacts.artifact import MANIFEST, Artifact, Progress
from encoder.models.base import Model
from encoder.models.exported import FACTS, read_facts
from encoder.models.sources.located import locate
from encoder.models.sparsity import gate_from
from encoder.models.spec import ModelSpec
from encoder.space import Space

Wish: TypeAlias = Literal[True] | str
"""True for a gate that is fitted to the model itself, or a gate file."""

_RECIPE = 1
"""Raise it when the graph that merges gives different vectors."""


def load(
    spec: ModelSpec, quantization: str | None, wish: Wish, n_threads: int | None
) -> Model | None:
    """Like `prepared.load`, with a gate.

    Raises:
        ModelError: see `prepare`.
    """
    sparsity = _sparsity(wish)
    wanted = prepared.precisions(quantization)
    for precision in wanted:
        if found := prepared.find(spec, precision, sparsity):
            return prepared.open_artifact(found, n_threads)
    if quantization in (None, "auto", "bf16"):  # torch runs these
        return None
    return prepared.open_artifact(prepare(spec, wanted[0], wish, prepared.tell), n_threads)


def prepare(spec: ModelSpec, precision: str, wish: Wish, progress: Progress) -> Artifact:
    """Prepare a model, and add a gate with the graph that merges by it.

    The dense artifact is made too, if there is none; files that both share are stored only once.

    Raises:
        ModelError: see `prepared.prepare`; a precision or a model without gates; or the gate never
            saves time.
        InputError: the model's window is too short to fit a gate.
    """
    if precision == "bf16":
        raise ModelError(
            f'{spec}: a gate merges in float32, int8 and int4, not in "bf16".',
            remedy="Use one of these, or leave out the gate.",
        )
    sparsity = _sparsity(wish)
    dense = prepared.prepare(spec, precision, progress)
    source = locate(spec)

    def write(folder: Path, report: Progress) -> Mapping[str, Any]:
        from encoder.models.prepare.merging.write import write_merging

        _share(dense, folder)
        facts = read_facts(dense.folder)
        gate = write_merging(
            spec, source, folder, facts, precision=precision, wish=wish, report=report
        )
        return _described(dense.manifest, gate.identity)

    key = prepared.key_of(spec, source.identity, precision, sparsity)
    return artifact.make(key, write, progress, spec=str(spec))


def _sparsity(wish: Wish) -> str:
    which = gate_from(wish).identity if isinstance(wish, str) else "own"
    return f"{which} recipe:{_RECIPE}"


def _share(dense: Artifact, folder: Path) -> None:
    """Put the dense artifact's files in another folder, except those that describe it."""
    for name in dense.manifest["files"].keys() - {FACTS, MANIFEST}:
        source, target = dense.folder / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except OSError:  # a file system without links
            shutil.copyfile(source, target)


def _described(manifest: Mapping[str, Any], gate: str) -> dict[str, Any]:
    """What the manifest says: the facts of the dense one, in a separate space."""
    own = {"format", "spec", "key", "made_at", "took_s", "files"}
    kept = {name: value for name, value in manifest.items() if name not in own}
    identity = {**kept["space"]["identity"], "dsre": gate}
    space = Space(kept["space"]["embed_dim"], identity)
    told = {"embed_dim": space.embed_dim, "fingerprint": space.fingerprint, "identity": identity}
    return {**kept, "space": told}

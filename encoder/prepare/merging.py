"""Prepare a model that merges tokens: its artifact, with a gate and a graph that merges by it."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from encoder.dsre.fitting.calibrate import holds
from encoder.dsre.fitting.documents import sample_documents
from encoder.dsre.fitting.judge import Loss
from encoder.dsre.gatefile import GateFile
from encoder.errors import ModelError
from encoder.models import artifacts
from encoder.models.artifacts import FLOAT32, MANIFEST, Artifact, Progress
from encoder.models.exported import FACTS, GATE, MERGING, read_facts
from encoder.models.sources import locate
from encoder.models.sparsity import Wish, gate_from
from encoder.models.spec import ModelSpec
from encoder.prepare import prepared
from encoder.prepare.gates.fit import fit
from encoder.prepare.gates.subjects import HubText
from encoder.prepare.hub.prepare import write_facts
from encoder.system.cache import cache_folder, make_once
from encoder.towers.model import Model

MAX_LOSS = 0.003
"""How much of nDCG@10 a gate may lose that is taken without being asked for."""

_RECIPE = 3
"""Raise it when the graph that merges gives different vectors."""
_FITTING_RECIPE = 1
"""Raise it when fitting gives a different gate for the same weights."""

_log = logging.getLogger(__name__)


def load(spec: ModelSpec, quantization: str | None, wish: Wish, n_threads: int | None) -> Model:
    """Open a model that merges tokens; prepare it first where needed, in float32 if not told.

    ``wish`` is True for a gate that is fitted to the model itself, or a gate file.

    Raises:
        ModelError: see `prepare`.
    """

    def make(spec: ModelSpec, precision: str, progress: Progress) -> Artifact:
        return prepare(spec, precision, wish, progress)

    model = prepared.load(spec, quantization, n_threads, sparsity=_sparsity(wish), make=make)
    assert model is not None  # since it is made
    return model


def load_measured(spec: ModelSpec, quantization: str | None, n_threads: int | None) -> Model | None:
    """Open what was prepared with a gate of its own that loses little enough; else None."""
    for precision in prepared.precisions_for(quantization):
        artifact = prepared.find(spec, precision, _sparsity(True))
        loss = artifact and artifact.manifest["dsre"]["loss"]
        if artifact and loss and holds(Loss(**loss), MAX_LOSS):
            return prepared.open_artifact(artifact, n_threads)
    return None


def prepare(spec: ModelSpec, precision: str, wish: Wish, progress: Progress) -> Artifact:
    """Prepare a model, and add the graph that merges.

    The dense artifact is made too, if there is none; files that both share are stored only once.
    What a gate loses and how much time it saves is measured without labels, see
    `encoder.dsre.fitting`, and is in the manifest as ``dsre``.

    Raises:
        ModelError: see `prepared.prepare`; a precision or a model without gates; or every gate
            loses too much, or never saves time.
        InputError: the model's window is too short to fit a gate.
    """
    if precision == "bf16":
        raise ModelError(
            f'{spec}: a gate merges in float32, int8 and int4, not in "bf16".',
            remedy="Use one of these, or leave out the gate.",
        )
    sparsity = _sparsity(wish)
    dense = prepared.prepare(spec, precision, progress)

    def write(folder: Path, report: Progress) -> Mapping[str, Any]:
        _share(dense, folder)
        gate = _write_merging(spec, folder, precision, wish, report)
        name = {"dsre": gate.identity}
        facts = read_facts(dense.folder) | read_facts(folder)
        write_facts(folder, {**facts, "identity": {**facts["identity"], **name}})
        return {**_described(dense.manifest, name), "dsre": _measured(gate)}

    key = prepared.key_of(spec, locate(spec).identity, precision, sparsity)
    return artifacts.make(key, write, progress, spec=str(spec))


def _sparsity(wish: Wish) -> str:
    which = gate_from(wish).identity if isinstance(wish, str) else "own"
    return f"{which} recipe:{_RECIPE}"


def _share(dense: Artifact, folder: Path) -> None:
    """Put the dense artifact's files in another folder, except those that describe it."""
    for name in dense.manifest["files"].keys() - {MANIFEST}:
        source, target = dense.folder / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if name == FACTS:  # it will be changed
            shutil.copyfile(source, target)
            continue
        try:
            os.link(source, target)
        except OSError:  # a file system without links
            shutil.copyfile(source, target)


def _described(manifest: Mapping[str, Any], name: Mapping[str, str]) -> dict[str, Any]:
    """What the manifest says: the facts of the dense one, in a space with this in its identity."""
    of_the_artifact = {"format", "spec", "key", "made_at", "took_s", "files"}
    shared_facts = {
        field: value for field, value in manifest.items() if field not in of_the_artifact
    }
    identity = {**shared_facts["space"]["identity"], **name}
    space = prepared.described_space(shared_facts["space"]["embed_dim"], identity)
    return {**shared_facts, "space": space}


def _measured(gate: GateFile) -> dict[str, Any]:
    """What is known about a gate; of one from a file, what its maker measured."""
    return {
        "loss": gate.facts.get("judged"),
        "speedup": gate.facts.get("break_even"),
        "from_tokens": gate.settings.min_tokens,
    }


def _write_merging(
    spec: ModelSpec, folder: Path, precision: str, wish: Wish, report: Progress
) -> GateFile:
    """Write the gate, the graph and the changed facts."""
    report("export the text network", 0.0)
    with TemporaryDirectory(dir=folder) as scratch:
        text = HubText(spec, Path(scratch))
        report("fit a gate", 0.3)
        if isinstance(wish, str):
            gate = gate_from(wish)
            gate.check_fit(text.shape.n_layers, text.vocab_size)
        else:
            gate = _own(spec, text, precision)
        report(f"write {MERGING}", 0.9)
        text.write(gate, folder / MERGING, precision)
    facts = read_facts(folder)
    merging = {"graph": MERGING, "gate": GATE, "shape": asdict(text.shape)}
    gate.save(folder / GATE)
    write_facts(folder, {**facts, "text": {**facts["text"], "merging": merging}})
    return gate


def _own(spec: ModelSpec, text: HubText, precision: str) -> GateFile:
    """The gate that was fitted to a model on this machine; fitted if there is none.

    The file is in ``gates`` of the machine's cache; copy it to give other machines the same
    vectors.
    """

    def tell(line: str) -> None:
        _log.info("fitting a gate to %s: %s", spec, line)

    def write(path: Path) -> None:
        tell("a few minutes, once")
        fit(text.subject(precision), sample_documents(), report=tell).save(path)

    return GateFile.load(make_once(remembered(spec, precision), write))


def remembered(spec: ModelSpec, precision: str = FLOAT32) -> Path:
    """Where the gate of a model is or will be stored.

    Args:
        spec: a hub model or a folder.
        precision: in which it was timed, which decides the length from which it merges.

    Raises:
        ModelError: the model is not found or not reachable.
    """
    facts = [
        locate(spec).identity,
        str(_FITTING_RECIPE),
        *([precision] if precision != FLOAT32 else []),
    ]
    digits = hashlib.sha256(" ".join(facts).encode()).hexdigest()[:16]
    return cache_folder("gates") / f"{digits}.npz"

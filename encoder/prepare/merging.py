"""Artifacts with a token gate: the files of the dense one, the gate, and a graph that merges."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from encoder.dsre.gatefile import GateFile
from encoder.errors import ModelError
from encoder.models import artifacts
from encoder.models.artifacts import FLOAT32, MANIFEST, Artifact, Progress
from encoder.models.exported import FACTS, GATE, MERGING, read_facts
from encoder.models.sources import locate
from encoder.models.sparsity import gate_from
from encoder.models.spec import ModelSpec
from encoder.onnx.quantize import quantize_linears
from encoder.prepare import prepared
from encoder.prepare.gates.fit import own_gate, raise_to_break_even, remembered
from encoder.prepare.gates.subjects import Run, tokenizer_of
from encoder.prepare.hub.graphs import TracedNetwork, export
from encoder.prepare.hub.prepare import load_source, write_facts
from encoder.runtime.onnx import OnnxSession
from encoder.towers.exported import TextGraph, inputs_of
from encoder.towers.gated import text_network
from encoder.towers.model import Model
from encoder.types import DOCUMENT, TEXT

if TYPE_CHECKING:
    from encoder.models.sources import ModelSource
    from encoder.models.spec import ModelSpec
    from encoder.towers.hub import JointEncoder


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

    def make(spec: ModelSpec, precision: str, progress: Progress) -> Artifact:
        return prepare(spec, precision, wish, progress)

    return prepared.load(spec, quantization, n_threads, sparsity=_sparsity(wish), make=make)


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

        _share(dense, folder)
        facts = read_facts(dense.folder)
        gate = write_merging(
            spec, source, folder, facts, precision=precision, wish=wish, report=report
        )
        return _described(dense.manifest, gate.identity)

    key = prepared.key_of(spec, source.identity, precision, sparsity)
    return artifacts.make(key, write, progress, spec=str(spec))


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
    of_the_artifact = {"format", "spec", "key", "made_at", "took_s", "files"}
    shared_facts = {name: value for name, value in manifest.items() if name not in of_the_artifact}
    identity = {**shared_facts["space"]["identity"], "dsre": gate}
    space = prepared.described_space(shared_facts["space"]["embed_dim"], identity)
    return {**shared_facts, "space": space}


_WEIGHT_BITS: Mapping[str, Literal[4, 8]] = {"int8": 8, "int4": 4}


def write_merging(
    spec: ModelSpec,
    source: ModelSource,
    folder: Path,
    facts: dict[str, Any],
    *,
    precision: str,
    wish: Literal[True] | str,
    report: Callable[[str, float], None],
) -> GateFile:
    """Write the gate, the graph and the changed facts.

    A gate that is fitted to the model itself is timed with these graphs, and merges from the length
    at which it saves time in them. In float32 it is the one that torch takes, unchanged.

    Raises:
        ModelError: the model takes no gate or cannot be exported with one, or it never pays.
        InputError: the model's window is too short to fit a gate.
    """
    from encoder.prepare.merging_graph import merging_network

    report("fit a gate", 0.0)
    own_path = remembered(spec, precision)
    is_timed = wish is not True or precision == FLOAT32 or own_path.exists()
    if isinstance(wish, str):
        gate = gate_from(wish)
    else:
        gate = GateFile.load(own_path) if own_path.exists() else own_gate(spec)
    _, joint, prompts = load_source(source.folder, source.where.get("model", ""))
    prompt = prompts[DOCUMENT][TEXT]
    network = text_network(str(spec), joint.model, prompt)
    report(f"export {MERGING}", 0.5)
    traced, encoder = merging_network(joint, network, gate)
    _export(joint.name, traced, folder / MERGING, precision)
    shape = asdict(encoder.blocks.shape)
    merging = {"graph": MERGING, "gate": GATE, "shape": shape, "cls_only": encoder.cls_only}
    facts = {**facts, "text": {**facts["text"], "merging": merging}}
    if not is_timed:
        report("time the gate", 0.8)
        gate = _timed(gate, joint, prompt, partial(_runs, folder, facts))
        gate.save(own_path)
    gate.save(folder / GATE)
    write_facts(folder, {**facts, "identity": {**facts["identity"], "dsre": gate.identity}})
    return gate


def _export(name: str, network: TracedNetwork, target: Path, precision: str) -> None:
    if precision == FLOAT32:
        export(name, network, target)
        return

    with TemporaryDirectory(dir=target.parent) as scratch:
        exact = Path(scratch) / target.name
        export(name, network, exact)
        quantize_linears(exact, target, weight_bits=_WEIGHT_BITS[precision])


def _timed(gate: GateFile, joint: JointEncoder, prompt: str, runs: Any) -> GateFile:
    from encoder.dsre.fitting.documents import sample_documents

    bodies = [document.body for document in sample_documents()]
    return raise_to_break_even(gate, runs, tokenizer_of(joint.model, prompt)(bodies))


@contextmanager
def _runs(folder: Path, facts: Mapping[str, Any], gate: GateFile) -> Iterator[tuple[Run, Run]]:
    """The dense and the sparse graph on one thread."""

    del gate  # the graph has it
    text = facts["text"]
    session = OnnxSession(folder / text["graph"], n_threads=1)
    dense = TextGraph(facts["name"], session, text["inputs"], text["soft_dim"])
    sparse = OnnxSession(folder / MERGING, n_threads=1)

    def run_dense(ids: Sequence[int]) -> None:
        dense.embed([np.asarray([ids], np.int64)])

    def run_sparse(ids: Sequence[int]) -> None:
        sparse.run(inputs_of(np.asarray([ids], np.int64)))

    yield run_dense, run_sparse

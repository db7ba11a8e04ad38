"""Add a gate, and the graph that merges by it, to the folder of an exported model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from encoder.dsre.gatefile import GateFile
from encoder.models.artifacts.prepared import FLOAT32
from encoder.models.exported import GATE, MERGING
from encoder.models.prepare.break_even import Run, raise_to_break_even
from encoder.models.prepare.hub.gate import text_network, tokenizer_of
from encoder.models.prepare.hub.graphs import Network, export
from encoder.models.prepare.hub.prepare import load_source, write_facts
from encoder.models.prepare.merging.graph import merging_network
from encoder.models.prepare.own_gate import own_gate, remembered
from encoder.models.sparsity import gate_from
from encoder.types import DOCUMENT, TEXT

if TYPE_CHECKING:
    from encoder.models.sources.located import Located
    from encoder.models.spec import ModelSpec
    from encoder.towers.hub.tower import JointEncoder

_WEIGHT_BITS: Mapping[str, Literal[4, 8]] = {"int8": 8, "int4": 4}


def write_merging(
    spec: ModelSpec,
    source: Located,
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

    Args:
        spec: a hub model or a folder.
        source: its files.
        folder: holds the graphs of the dense model.
        facts: of the dense model, see `encoder.models.prepare.hub.prepare.facts_of`.
        precision: ``float32``, ``int8`` or ``int4``.
        wish: True for the model's own gate, or a gate file.
        report: called with the stage and the share done.

    Raises:
        ModelError: the model takes no gate or cannot be exported with one, or it never pays.
        InputError: the model's window is too short to fit a gate.
    """
    report("fit a gate", 0.0)
    own = remembered(spec, precision)
    is_timed = wish is not True or precision == FLOAT32 or own.exists()
    gate = _gate(spec, own, wish)
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
        gate.save(own)
    gate.save(folder / GATE)
    write_facts(folder, {**facts, "identity": {**facts["identity"], "dsre": gate.identity}})
    return gate


def _gate(spec: ModelSpec, own: Path, wish: Literal[True] | str) -> GateFile:
    if isinstance(wish, str):
        return gate_from(wish)
    return GateFile.load(own) if own.exists() else own_gate(spec)


def _export(name: str, network: Network, target: Path, precision: str) -> None:
    if precision == FLOAT32:
        export(name, network, target)
        return
    from encoder.onnx.quantize import quantize_linears

    with TemporaryDirectory(dir=target.parent) as scratch:
        exact = Path(scratch) / target.name
        export(name, network, exact)
        quantize_linears(exact, target, weight_bits=_WEIGHT_BITS[precision])


def _timed(gate: GateFile, joint: JointEncoder, prompt: str, runs: Any) -> GateFile:
    from encoder.dsre.fitting.sample import sample_documents

    bodies = [document.body for document in sample_documents()]
    return raise_to_break_even(gate, runs, tokenizer_of(joint.model, prompt)(bodies))


@contextmanager
def _runs(folder: Path, facts: Mapping[str, Any], gate: GateFile) -> Iterator[tuple[Run, Run]]:
    """The dense and the sparse graph on one thread."""
    from encoder.runtime.onnx import OnnxSession
    from encoder.towers.exported.merging import inputs_of
    from encoder.towers.exported.text import TextGraph

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

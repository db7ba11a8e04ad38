"""Fit a token gate to a model's text network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from encoder.models.prepare.break_even import GateSubject, raise_to_break_even
from encoder.models.spec import ModelSpec
from encoder.system.extras import require
from encoder.types import DOCUMENT, TEXT

if TYPE_CHECKING:
    from torch import nn

    from encoder.dsre.fitting.documents import Document
    from encoder.dsre.fitting.tuning import Plan
    from encoder.dsre.gatefile import GateFile
    from encoder.dsre.settings import Preset
    from encoder.types import Embeddings

_DEEP = 10
"""From this many layers on, thresholds are those measured on twelve; below, those on six."""


def calibrate_text(
    model: str,
    documents: Iterable[Document],
    *,
    max_loss: float = 0.003,
    report: Callable[[str], None] | None = None,
) -> GateFile:
    """Fit a gate to a model's text tower; see `encoder.dsre.fitting.calibrate.calibrate`.

    Its shortest length is then raised to where it pays, see `encoder.models.prepare.break_even`.

    Args:
        model: a bundle, or a sentence encoder, ``hf:org/name@revision`` or ``dir:path``.
        documents: see there.
        max_loss: see there.
        report: see there.

    Raises:
        ModelError: the model takes no gate, or every gate loses too much, or it never saves
            time.
        InputError: too few documents.
    """
    require("Fitting a gate", "torch")
    from encoder.dsre.fitting.calibrate import calibrate

    documents = list(documents)
    on = open_subject(model)
    gate = calibrate(
        on.dense, on.tokenize, documents, max_loss=max_loss, pooling=on.pooling,
        preset=_preset(on.dense), report=report,
    )  # fmt: skip
    return _raised(gate, on, documents, report)


def distill_text(
    model: str,
    documents: Iterable[Document],
    *,
    plan: Plan,
    more: Sequence[str] = (),
    start: GateFile | None = None,
    anchors: Embeddings | None = None,
    max_loss: float = 0.003,
    max_tokens: int | None = None,
    report: Callable[[str], None] | None = None,
) -> GateFile:
    """Train a gate for a model's text tower; see `encoder.dsre.fitting.distill.distill`.

    Args:
        model: see `calibrate_text`.
        documents: see there.
        plan: see there.
        more: other texts to train with.
        start: a gate to go on from; see there.
        anchors: unit rows [n, hidden_dim] of what could be asked for the texts, embedded as
            queries; None for the titles of those that train.
        max_loss: see there.
        max_tokens: where a bundle's texts are cut; None for its window.
        report: see there.

    Raises:
        ModelError: the model takes no gate, ``start`` does not fit it or the plan's rank, or the
            gate loses too much.
        InputError: too few documents, or ``anchors`` of another shape.
    """
    require("Training a gate", "torch")
    from encoder.dsre.fitting.distill import distill

    documents = list(documents)
    on = open_subject(model, max_tokens)
    gate = distill(
        on.dense, on.tokenize, documents, plan=plan, more=on.tokenize(more), start=start,
        anchors=anchors, max_loss=max_loss, pooling=on.pooling, report=report,
    )  # fmt: skip
    return _raised(gate, on, documents, report)


def _raised(
    gate: GateFile,
    on: GateSubject,
    documents: Sequence[Document],
    report: Callable[[str], None] | None,
) -> GateFile:
    """The gate, used from the length at which it pays."""
    bodies = on.tokenize([document.body for document in documents])
    return raise_to_break_even(gate, on.runs, bodies, report=report)


def _preset(dense: nn.Module) -> Preset:
    """The thresholds to begin with: tokens look alike earlier in deep networks."""
    from encoder.dsre.adapters import blocks_of

    return "I1" if blocks_of(dense).shape.n_layers < _DEEP else "J1"


def open_subject(model: str, max_tokens: int | None = None) -> GateSubject:
    """A model's text network; see `calibrate_text` for its name.

    Args:
        model: see there.
        max_tokens: where a bundle's texts are cut; None for its window.

    Raises:
        ModelError: it takes no gate.
    """
    spec = ModelSpec.parse(model)
    if spec.kind == "bundle":
        from encoder.models.prepare.bundle.gate import gate_subject

        return gate_subject(model, max_tokens)
    from encoder.models.hub import open_joint
    from encoder.models.prepare.hub.gate import subject

    _, joint, prompts = open_joint(spec.name, spec.revision, device="cpu")
    return subject(model, joint.model, prompts.of(TEXT, DOCUMENT))

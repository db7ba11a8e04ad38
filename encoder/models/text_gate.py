"""The token gate of a model's text network: fit one, build the bundle's networks with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from encoder.errors import ModelError
from encoder.models.sparsity import SPARSE_INT8, SPARSE_RECIPE
from encoder.towers.text import MAX_TOKENS, load_tokenizer

if TYPE_CHECKING:
    from torch import nn

    from encoder.dsre.documents import Document
    from encoder.dsre.gatefile import GateFile
    from encoder.dsre.judge import Tokenize
    from encoder.dsre.network import Pooling
    from encoder.dsre.settings import Preset
    from encoder.dsre.tuning import Plan
    from encoder.models.break_even import Runs
    from encoder.networks.bert import SentenceBert

_DEEP = 10
"""As many layers take the thresholds that were measured on twelve, fewer those measured on six."""


@dataclass(frozen=True, eq=False)
class _Subject:
    """What a gate is fitted to."""

    dense: nn.Module
    tokenize: Tokenize
    runs: Runs
    pooling: Pooling = "mean"


def calibrate_text(
    model: str,
    documents: Iterable[Document],
    *,
    max_loss: float = 0.003,
    report: Callable[[str], None] | None = None,
) -> GateFile:
    """Fit a gate to a model's text tower; see `encoder.dsre.calibrate.calibrate`.

    Its shortest length is then raised to where it pays, see `encoder.models.break_even`.

    Args:
        model: ``bundle:default``, or a BERT-like sentence encoder, ``hf:org/name@revision`` or
            ``dir:path``.
        documents: see there.
        max_loss: see there.
        report: see there.

    Raises:
        ModelError: a model that takes no gate, or no gate loses so little, or it never saves
            time.
        InputError: too few documents.
    """
    from encoder.dsre.calibrate import calibrate

    documents = list(documents)
    on = _open(model)
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
    max_loss: float = 0.003,
    max_tokens: int = MAX_TOKENS,
    report: Callable[[str], None] | None = None,
) -> GateFile:
    """Train a gate for a model's text tower; see `encoder.dsre.distill.distill`.

    Args:
        model: see `calibrate_text`.
        documents: see there.
        plan: see there.
        more: other texts to train with.
        max_loss: see there.
        max_tokens: where the bundle's texts are cut; the tower itself cuts at `MAX_TOKENS`.
        report: see there.

    Raises:
        ModelError: a model that takes no gate, or the gate loses too much.
        InputError: too few documents.
    """
    from encoder.dsre.distill import distill

    documents = list(documents)
    on = _open(model, max_tokens)
    gate = distill(
        on.dense, on.tokenize, documents, plan=plan, more=on.tokenize(more),
        max_loss=max_loss, pooling=on.pooling, report=report,
    )  # fmt: skip
    return _raised(gate, on, documents, report)


def _raised(
    gate: GateFile,
    on: _Subject,
    documents: Sequence[Document],
    report: Callable[[str], None] | None,
) -> GateFile:
    """The gate from the length on at which it pays."""
    from encoder.models.break_even import raise_to_break_even

    bodies = on.tokenize([document.body for document in documents])
    return raise_to_break_even(gate, on.runs, bodies, report=report)


def _preset(dense: nn.Module) -> Preset:
    """The thresholds to begin with: deep networks look alike earlier."""
    from encoder.dsre.adapters import blocks_of

    return "I1" if blocks_of(dense).shape.n_layers < _DEEP else "J1"


def _open(model: str, max_tokens: int = MAX_TOKENS) -> _Subject:
    if model == "bundle:default":
        return _open_bundle(max_tokens)
    from encoder.models.hub_gate import runs, text_network, tokenizer_of
    from encoder.models.resolve import open_hub

    opened, prompt = open_hub(model, device="cpu")
    network = text_network(model, opened, prompt)
    tokenize = tokenizer_of(opened, prompt)
    return _Subject(network.transformer, tokenize, partial(runs, network), network.pooling)


def _open_bundle(max_tokens: int) -> _Subject:
    from encoder.models import bundle
    from encoder.models.break_even import bundle_runs
    from encoder.networks.bert import load_sentence_bert

    folder = bundle.location() / "text"
    tokenizer = load_tokenizer(folder / "tokenizer.json", max_tokens=max_tokens)

    def tokenize(texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]

    return _Subject(load_sentence_bert(folder), tokenize, partial(bundle_runs, folder))


def write(model: SentenceBert, gate: GateFile, target: Path) -> None:
    """Write the sparse network to ``target``, whose name tells the precision."""
    from encoder.dsre.export import export_sparse
    from encoder.dsre.int8 import quantize_sparse
    from encoder.dsre.network import SparseEncoder

    if target.name == SPARSE_INT8:
        quantize_sparse(model, gate, target)
    else:
        export_sparse(SparseEncoder(model, gate), target)


def build(weights: Path, gate: GateFile, name: str) -> Path:
    """The sparse network with a gate; made once, then kept beside the bundle.

    It takes about half a minute, and most users never need it, so `prepare_text` does not do it.

    Args:
        weights: the text part of the bundle.
        gate: fitted to it.
        name: `SPARSE_INT8` or `SPARSE_FLOAT`.

    Raises:
        ModelError: the gate is for another network, or there is no place to write.
    """
    from filelock import FileLock

    from encoder.models import bundle

    folder = bundle.cache_home() / "dsre" / f"{gate.identity.partition(':')[2]}-{SPARSE_RECIPE}"
    target = folder / name
    if target.exists():
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"), TemporaryDirectory(dir=folder) as scratch:
            if not target.exists():
                from encoder.networks.bert import load_sentence_bert  # and torch

                made = Path(scratch) / name
                write(load_sentence_bert(weights), gate, made)
                made.replace(target)
    except OSError as error:
        raise ModelError(
            f"The sparse network cannot be written to {target}: {error}.",
            remedy="Free 100 MB of disk there, or set ANYMODAL_HOME to another folder.",
        ) from error
    return target

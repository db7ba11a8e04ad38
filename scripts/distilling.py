"""Distill a gate: bold thresholds, and small changes of the weights that make up for them.

The texts are split as in `encoder.dsre.fitting.calibrate`: one part trains the changes and counts
how rare each token is, one chooses the step to stop at, one judges. No text is in two parts.

Self-distillation (Hinton et al. 2015, the teacher being the same network): no text needs a label.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encoder.dsre.cost import Shape
from encoder.dsre.deltas import DOWN, UP, Deltas
from encoder.dsre.fitting.calibrate import Report, check_max_loss, describe, holds, silent
from encoder.dsre.fitting.documents import Document, Part, parted
from encoder.dsre.fitting.judge import Judgement, Loss, Run, Tokenize, embed, judge_dense, measure
from encoder.dsre.gatefile import GateFile, token_rarity
from encoder.dsre.settings import GateSettings
from encoder.errors import InputError, ModelError
from encoder.models.bundle.declaration import location, read_bundle
from encoder.models.spec import ModelSpec
from encoder.networks.bert import SentenceBert, load_sentence_bert
from encoder.prepare.gates.fit import raise_to_break_even
from encoder.prepare.gates.subjects import open_subject
from encoder.types import Embeddings
from scripts.merging_in_torch import SparseEncoder

if TYPE_CHECKING:
    from torch import Tensor

_WARM_UP = 20
_LONGEST_GRADIENT = 1.0
_MIXED_LENGTHS = 24
_FAINTEST = 0.9
_TEMPERATURE = 0.05
_NEVER = 1_000_000


@dataclass(frozen=True)
class TrainingPlan:
    """How to train.

    Args:
        n_steps: how many times the weights change.
        n_texts: texts in a batch.
        rank: of a matrix's change.
        rate: AdamW's learning rate after the first steps; it falls to 0 along a cosine.
        annealed: the share of the steps in which the thresholds go from careful to final; with 0
            they are final from the first step.
        anchors_weight: of the loss towards other texts, see `objective`.
        check_every: steps from one judgement to the next.
        seed: of the initial weights and the order of texts.

    Raises:
        InputError: a number that nothing can be trained with.
    """

    n_steps: int = 400
    n_texts: int = 8
    rank: int = 16
    rate: float = 1e-3
    annealed: float = 0.3
    anchors_weight: float = 10.0
    check_every: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("n_steps", "n_texts", "rank", "check_every"):
            if getattr(self, name) < 1:
                raise InputError(name, got=str(getattr(self, name)), wanted="1 or more")
        if not 0.0 < self.rate < 1.0:
            raise InputError("rate", got=f"{self.rate:g}", wanted="above 0, below 1")
        if not 0.0 <= self.annealed <= 1.0:
            raise InputError("annealed", got=f"{self.annealed:g}", wanted="0 to 1")

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        warm = min(1.0, (step + 1) / _WARM_UP)
        return self.rate * warm * (0.5 + 0.5 * math.cos(math.pi * step / self.n_steps))

    def gate_at(self, step: int, final: GateSettings) -> GateSettings:
        """The gate of a step: it goes from one that merges little to the ``final`` one."""
        share = min(1.0, (step + 1) / max(1.0, self.annealed * self.n_steps))
        thresholds = tuple(
            None if t is None else _FAINTEST + (t - _FAINTEST) * share for t in final.thresholds
        )
        return replace(final, thresholds=thresholds)


def batches(
    lengths: Sequence[int], n_texts: int, rng: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Endless batches of indices of similarly long texts; each text comes once before any twice."""
    while True:
        order = np.argsort(np.asarray(lengths) + rng.uniform(0, _MIXED_LENGTHS, len(lengths)))
        parts = [order[i : i + n_texts] for i in range(0, len(order), n_texts)]
        yield from (parts[i] for i in rng.permutation(len(parts)))


def objective(sparse: Tensor, dense: Tensor, anchors: Tensor, weight: float) -> Tensor:
    """How far sparse vectors are from dense ones, and whether it matters to a search.

    Args:
        sparse: [n, d].
        dense: unit rows [n, d].
        anchors: unit rows [n_anchors, d], of texts that could be queries for the others.
        weight: of the second part.

    Returns:
        1 − cosine, plus ``weight`` times the squared change of the cosines to the anchors; the
        anchors nearest to the dense vector count most.
    """
    from torch.nn.functional import normalize

    unit = normalize(sparse, dim=1)
    away = 1 - (unit * dense).sum(1)
    near = (dense @ anchors.T / _TEMPERATURE).softmax(1)
    moved = (unit - dense) @ anchors.T
    return away.mean() + weight * (near * moved.square()).sum(1).mean()


class Student:
    """A sparse network whose weights can be changed.

    Args:
        network: one without weight changes; its parameters stay as they are.
        plan: how to train.
    """

    def __init__(self, network: SparseEncoder, plan: TrainingPlan) -> None:
        import torch

        self.network = network.requires_grad_(False)
        self._plan = plan
        self._wanted = network.settings
        self._thin: dict[str, tuple[Tensor, Tensor]] = {}
        self._plain: dict[str, Tensor] = {}
        random = torch.Generator().manual_seed(plan.seed)
        for name, weight in _trained(network).items():
            if weight.ndim == 1:
                self._plain[name] = torch.zeros_like(weight).requires_grad_()
            else:
                up = weight.new_zeros(weight.shape[0], plan.rank)
                down = torch.randn(plan.rank, weight.shape[1], generator=random)
                down /= math.sqrt(weight.shape[1])
                self._thin[name] = up.requires_grad_(), down.requires_grad_()
        self._parameters = [
            *self._plain.values(),
            *(p for pair in self._thin.values() for p in pair),
        ]
        self._optimizer = torch.optim.AdamW(
            self._parameters, lr=plan.rate, betas=(0.9, 0.98), weight_decay=0.0
        )

    def teach(self, texts: Sequence[Sequence[int]]) -> Tensor:
        """The dense network's embeddings of texts: unit rows [n, d]."""
        import torch
        from torch.nn.functional import normalize

        self.network.settings = replace(self._wanted, min_tokens=_NEVER)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            pooled, _ = self.network(*_padded(texts))
        return normalize(pooled.float(), dim=1)

    def learn(
        self, step: int, texts: Sequence[Sequence[int]], dense: Tensor, anchors: Tensor
    ) -> float:
        """Change the weights a little towards the dense vectors of some texts.

        Returns:
            The loss before, see `objective`.
        """
        import torch

        for group in self._optimizer.param_groups:
            group["lr"] = self._plan.rate_at(step)
        self.network.settings = self._plan.gate_at(step, self._wanted)
        with torch.autocast("cpu", torch.bfloat16):
            sparse, _ = torch.func.functional_call(self.network, self._weights(), _padded(texts))
        loss = objective(sparse.float(), dense, anchors, self._plan.anchors_weight)
        self._optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._parameters, _LONGEST_GRADIENT)
        self._optimizer.step()
        return float(loss.detach())

    def deltas(self) -> Deltas:
        """The changes so far."""
        changes = dict(self._plain)
        for name, (up, down) in self._thin.items():
            changes |= {name + UP: up, name + DOWN: down}
        return {name.removeprefix("dense."): _half(change) for name, change in changes.items()}

    def _weights(self) -> dict[str, Tensor]:
        weights = _trained(self.network)
        plain = {name: weights[name] + change for name, change in self._plain.items()}
        return plain | {name: weights[name] + up @ down for name, (up, down) in self._thin.items()}


def _trained(network: SparseEncoder) -> Mapping[str, Tensor]:
    """The parameters of linear layers and norms, by name; not the embeddings."""
    from torch import nn

    return {
        f"{name}.{parameter_name}": parameter
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear | nn.LayerNorm)
        for parameter_name, parameter in module.named_parameters(recurse=False)
    }


def _padded(texts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    import torch

    length = max(map(len, texts))
    input_ids = torch.tensor([[*ids, *[0] * (length - len(ids))] for ids in texts])
    mask = torch.arange(length) < torch.tensor([[len(ids)] for ids in texts])
    return input_ids, mask.float()


def _half(change: Tensor) -> NDArray[np.float16]:
    values: NDArray[np.float16] = change.detach().numpy().astype(np.float16)
    return values


BOLD = (0.7, 0.65, 0.6, 0.55, 0.45, 0.3)
"""Thresholds for 6 layers, including the first: about 1.8 times fewer FLOPs."""

_JUDGING: tuple[Part, Part] = ("judge", "choose")


@dataclass(frozen=True)
class _Try:
    """The changes after some steps, and their loss."""

    step: int
    deltas: Deltas
    loss: Loss
    saved: float


def bold(n_layers: int) -> tuple[float, ...]:
    """`BOLD`, stretched to the depth of a model.

    >>> bold(6) == BOLD
    True
    """
    at = np.linspace(0, len(BOLD) - 1, n_layers)
    return tuple(round(float(value), 6) for value in np.interp(at, np.arange(len(BOLD)), BOLD))


def distill(
    dense: SentenceBert,
    tokenize: Tokenize,
    documents: Iterable[Document],
    *,
    plan: TrainingPlan,
    more: Sequence[Sequence[int]] = (),
    max_loss: float = 0.003,
    min_tokens: int = 128,
    report: Report | None = None,
) -> GateFile:
    """Train weight changes with merging in the loop.

    Args:
        dense: the network; see `SparseEncoder`. It stays as it is.
        tokenize: texts to token ids, truncated as when the model is used.
        documents: see `encoder.dsre.fitting.calibrate.calibrate`.
        plan: how to train.
        more: token ids of other texts to train with, none among those that choose or judge.
        max_loss: see there.
        min_tokens: shorter texts run dense, in the unchanged network.
        report: called with one line per step.

    Returns:
        The gate; its facts hold the loss before training, at the chosen step, and as judged.

    Raises:
        InputError: too few texts or long ones, or a wrong ``max_loss``.
        ModelError: an unknown architecture, or too great a loss.
    """
    check_max_loss(max_loss)
    parts = parted(documents)
    ids = tokenize([document.body for document in parts["rarity"]])
    settings = GateSettings(bold(len(dense.layers)), min_tokens=min_tokens)
    gate = GateFile(token_rarity(ids, dense.word.num_embeddings), settings)
    lesson = _Lesson(dense, gate, plan, report or silent)
    titles = tokenize([document.title for document in parts["rarity"]])
    judging, choosing = (lesson.judge(tokenize, parts[part]) for part in _JUDGING)
    texts = [ids_of_text for ids_of_text in [*ids, *more] if len(ids_of_text) >= min_tokens]
    before, best = lesson.train(texts, lesson.anchors(titles), choosing)
    _check(best.loss, max_loss)
    sizes = {name: len(documents_of_part) for name, documents_of_part in parts.items()}
    facts: dict[str, Any] = {"max_loss": max_loss, "texts": len(texts), "documents": sizes}
    return lesson.finish(before, best, judging, facts)


class _Lesson:
    """A network, the gate to begin with, and the changes that are trained."""

    def __init__(
        self, dense: SentenceBert, gate: GateFile, plan: TrainingPlan, report: Report
    ) -> None:
        self._dense, self._plan, self._report = dense, plan, report
        self._gate = gate
        self._student = Student(self._sparse({}), plan)

    def _off(self) -> Run:
        """The network that merges nothing."""
        gate = replace(
            self._gate, deltas={}, settings=replace(self._gate.settings, min_tokens=_NEVER)
        )
        return running(SparseEncoder(self._dense, gate).eval())

    def judge(self, tokenize: Tokenize, documents: Sequence[Document]) -> Judgement:
        """Documents, encoded without the gate."""
        return judge_dense(self._off(), tokenize, documents, self._gate.settings.min_tokens)

    def _measure(self, deltas: Deltas, judgement: Judgement) -> tuple[Loss, float]:
        run, shape = running(self._sparse(deltas)), shape_of(self._dense)
        return measure(run, self._gate.settings, shape, judgement)

    def _sparse(self, deltas: Deltas) -> SparseEncoder:
        return SparseEncoder(self._dense, replace(self._gate, deltas=deltas)).eval()

    def anchors(self, titles: Sequence[Sequence[int]]) -> Embeddings:
        """The dense vectors of titles, unit rows."""
        rows, *_ = embed(self._off(), titles)
        return rows

    def train(
        self, texts: Sequence[Sequence[int]], anchors: Embeddings, judgement: Judgement
    ) -> tuple[_Try, _Try]:
        """The gate before any step, and the best of those that were judged."""
        import torch

        plan, student = self._plan, self._student
        rows = torch.from_numpy(anchors)
        before = best = self._judge(0, self._gate.deltas, judgement)
        drawn = batches([len(ids) for ids in texts], plan.n_texts, np.random.default_rng(plan.seed))
        for step in range(plan.n_steps):
            some = [texts[i] for i in next(drawn)]
            student.learn(step, some, student.teach(some), rows)
            if (step + 1) % plan.check_every == 0 or step + 1 == plan.n_steps:
                tried = self._judge(step + 1, student.deltas(), judgement)
                best = min(best, tried, key=lambda attempt: attempt.loss.margin)
        return before, best

    def _judge(self, step: int, deltas: Deltas, judgement: Judgement) -> _Try:
        loss, saved = self._measure(deltas, judgement)
        self._report(f"step {step}: {describe(loss)}, {saved:.2f} times fewer FLOPs")
        return _Try(step, deltas, loss, saved)

    def finish(
        self, before: _Try, best: _Try, judgement: Judgement, facts: Mapping[str, Any]
    ) -> GateFile:
        """The gate, with its loss and saving on texts that nothing was fitted to."""
        loss, saved = self._measure(best.deltas, judgement)
        summary = f"{describe(loss)}, {saved:.2f} times fewer FLOPs"
        self._report(f"With held-out texts: {summary}")
        facts = {
            "preset": "distilled", "shift": 0.0, "plan": asdict(self._plan), "step": best.step,
            **facts, "before": asdict(before.loss), "chosen": asdict(best.loss),
            "judged": asdict(loss), "flops_ratio": round(saved, 3),
        }  # fmt: skip
        return replace(self._gate, facts=facts, deltas=best.deltas)


def _check(loss: Loss, max_loss: float) -> None:
    if not holds(loss, max_loss):
        raise ModelError(
            f"The distilled gate loses more than {max_loss:.2%}: {describe(loss)}.",
            remedy="Raise --max-loss or --steps, give more texts, or use a calibrated gate.",
        )


def running(network: SparseEncoder) -> Run:
    """The network as those that judge a gate run it; thresholds are those of its settings."""
    import torch

    def run(
        ids: NDArray[np.int64], thresholds: NDArray[np.float32] | None = None
    ) -> Sequence[NDArray[np.generic]]:
        del thresholds
        with torch.inference_mode():
            outputs = network(torch.from_numpy(ids), torch.ones(ids.shape))
        return [output.numpy() for output in outputs]

    return run


def shape_of(network: SentenceBert) -> Shape:
    """The numbers that determine what a token costs."""
    return Shape(network.size.n_layers, network.size.hidden_dim, network.size.ffn_dim)


def distill_text(
    bundle: str,
    documents: Iterable[Document],
    *,
    max_tokens: int,
    further_texts: Sequence[str] = (),
    **options: Any,
) -> GateFile:
    """Train a gate for a bundle's text tower, see `distill`; it is used from where it pays."""
    documents = list(documents)
    with open_subject(bundle, max_tokens) as on:
        dense = load_sentence_bert(location(read_bundle(ModelSpec.parse(bundle).name)) / "text")
        more = on.tokenize(further_texts)
        gate = distill(dense, on.tokenize, documents, more=more, **options)
        bodies = on.tokenize([document.body for document in documents])
        return raise_to_break_even(gate, on.timed, bodies, report=options.get("report"))

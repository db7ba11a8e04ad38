"""Train small changes of a network's weights, so that merging tokens changes its vectors less.

Self-distillation (Hinton et al. 2015, the teacher being the same network): no text needs a label.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from encoder.dsre.deltas import DOWN, UP, Deltas
from encoder.dsre.settings import GateSettings
from encoder.errors import InputError, ModelError

if TYPE_CHECKING:
    from torch import Tensor

    from encoder.dsre.network import SparseEncoder

_WARM_UP = 20
_LONGEST_GRADIENT = 1.0
_MIXED_LENGTHS = 24
_FAINTEST = 0.9
_TEMPERATURE = 0.05
_NEVER = 1_000_000
_NO_CHANGES: Deltas = MappingProxyType({})


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
        start: the changes to begin with; a weight that they leave out begins without a change.

    Raises:
        ModelError: ``start`` has a change that is not trained, or not at this rank.
    """

    def __init__(
        self, network: SparseEncoder, plan: TrainingPlan, start: Deltas = _NO_CHANGES
    ) -> None:
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
        self._begin(start)
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
        return {name: _half(change) for name, change in self._changes().items()}

    def _changes(self) -> dict[str, Tensor]:
        """What is trained, under the names of `Deltas`."""
        changes = dict(self._plain)
        for name, (up, down) in self._thin.items():
            changes |= {name + UP: up, name + DOWN: down}
        return {name.removeprefix("dense."): change for name, change in changes.items()}

    def _begin(self, start: Deltas) -> None:
        import torch

        changes = self._changes()
        for name, values in start.items():
            shape = tuple(changes[name].shape) if name in changes else None
            if shape != values.shape:
                raise _unlike(name, values, shape)
            with torch.no_grad():
                changes[name].copy_(torch.from_numpy(values.astype(np.float32)))

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


def _unlike(name: str, values: NDArray[np.float16], shape: tuple[int, ...] | None) -> ModelError:
    trained = "no such change" if shape is None else f"one of {list(shape)}"
    return ModelError(
        f"The gate to go on from has a change {name} {list(values.shape)}; "
        f"this training has {trained}.",
        remedy="Go on from a gate that was distilled for this model with the same rank.",
    )


def _padded(texts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    import torch

    length = max(map(len, texts))
    input_ids = torch.tensor([[*ids, *[0] * (length - len(ids))] for ids in texts])
    mask = torch.arange(length) < torch.tensor([[len(ids)] for ids in texts])
    return input_ids, mask.float()


def _half(change: Tensor) -> NDArray[np.float16]:
    values: NDArray[np.float16] = change.detach().numpy().astype(np.float16)
    return values

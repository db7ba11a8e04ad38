"""The networks that are quantized, with data to fit, to rank layers and, separately, to judge.

Importing this imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.corpora.debian_packages import Pair, pairs
from benchmarks.harness.reporting import Settings
from benchmarks.peers import SPEED, load
from benchmarks.peers.base import Inputs
from benchmarks.quant.networks.pictures import (
    SIDE,
    classifier,
    pictures,
)
from benchmarks.quant.quality.judge import (
    Figures,
    classifier_figures,
    embedder_figures,
    outputs,
    remembered,
)
from encoder.models.bundle.declaration import location, read_bundle
from encoder.prepare.bundle.networks import load_network
from encoder.quant.calibration import CalibrationData, Objective, batch_items
from encoder.towers.text import MAX_TOKENS, load_tokenizer, pad

_TEXTS_PER_BATCH = 16
_PICTURES_PER_BATCH = 5
_CALIBRATION_PAIRS = 128


@dataclass(frozen=True, eq=False)
class Subject:
    """A network to quantize.

    Args:
        name: of the network and of the data that judge.
        model: float32.
        objective: how its loss is measured.
        data: half fits, half ranks the layers; none of it judges.
        answer: a float32 model's outputs on the data that judge, [n, d].
        compare: figures that compare another model's outputs with the original's.
        cache: where earlier measurements are kept.
    """

    name: str
    model: nn.Module
    objective: Objective
    data: CalibrationData
    answer: Callable[[nn.Module], Tensor]
    compare: Callable[[Tensor, Tensor], Figures]
    cache: Path

    @property
    def everything(self) -> CalibrationData:
        """All calibration data, to fit; the loss that the Quantizer then reports means nothing."""
        return CalibrationData([*self.data.fit, *self.data.score], self.data.score[:1])

    @property
    def n_calibration(self) -> int:
        """How many items fit or rank."""
        return sum(batch_items(batch) for batch in self.everything.fit)

    @cached_property
    def original(self) -> Tensor:
        """The original's outputs on the data that judge."""
        return self.answer(self.model)

    def judge(self, model: nn.Module) -> Figures:
        """Figures of a model with the same architecture, on data that nothing was fitted to."""

        def figures() -> Figures:
            return self.compare(self.original, self.answer(model))

        return remembered(self.cache, model, {"data": self.name}, figures)


def minilm(settings: Settings, n_pairs: int) -> Subject:
    """The bundle's text network; ``n_pairs`` titles and bodies of the test split judge."""
    held_out = pairs(settings.folder / "debian", "test")[:n_pairs]
    batches = text_batches(texts_of(held_out), MAX_TOKENS, sort=True)
    order = torch.from_numpy(np.argsort(batches.order))

    def answer(model: nn.Module) -> Tensor:
        return outputs(model, batches.inputs)[order]

    return Subject(
        f"MiniLM on {len(held_out)} pairs",
        load_network("bundle:english", "text").module,
        "cosine",
        CalibrationData.split(calibration_texts(settings)),
        answer,
        embedder_figures,
        settings.cache,
    )


def lite0(settings: Settings, n_pictures: int) -> Subject:
    """EfficientNet-Lite0; ``n_pictures`` of the 875 that are kept for it judge."""
    held_out = pictures(settings.folder, "evaluation", SIDE)
    n = min(n_pictures, len(held_out))
    chosen = np.linspace(0, len(held_out) - 1, n).astype(int)
    labels = held_out.labels[chosen]
    shown = type(held_out)(held_out.squares[chosen], labels)

    def answer(model: nn.Module) -> Tensor:
        # exactly the same network, twice as fast as in torch
        batches = [{"pixels": torch.from_numpy(x)} for x, _ in shown.batches(_PICTURES_PER_BATCH)]
        run = load(SPEED["ONNX Runtime fp32"])(model, batches[:1])
        return torch.cat([run(batch) for batch in batches])

    return Subject(
        f"lite0 on {n} pictures",
        classifier(settings.folder),
        "kl",
        CalibrationData.split(calibration_pictures(settings)),
        answer,
        lambda original, quantized: classifier_figures(original, quantized, labels),
        settings.cache,
    )


def calibration_texts(settings: Settings) -> list[Inputs]:
    """Titles and bodies of the calibration split, in batches of like lengths, shuffled."""
    n = settings.items(_CALIBRATION_PAIRS, 8)
    chosen = pairs(settings.folder / "debian", "calibration")[:n]
    batches = text_batches(texts_of(chosen), MAX_TOKENS, sort=True).inputs
    return [batches[i] for i in np.random.default_rng(0).permutation(len(batches))]


def calibration_pictures(settings: Settings) -> list[Inputs]:
    """The 125 calibration pictures."""
    batches = pictures(settings.folder, "calibration", SIDE).batches(_PICTURES_PER_BATCH)
    return [{"pixels": torch.from_numpy(x)} for x, _ in islice(batches, settings.items(25, 2))]


def texts_of(chosen: Sequence[Pair]) -> list[str]:
    """All titles, then all bodies."""
    return [pair.title for pair in chosen] + [pair.body for pair in chosen]


@dataclass(frozen=True, eq=False)
class TextBatches:
    """Padded texts; ``order`` holds the index of each row's text."""

    inputs: Sequence[Inputs]
    order: Sequence[int]


def text_batches(
    texts: Sequence[str], max_tokens: int, *, sort: bool, n_per_batch: int = _TEXTS_PER_BATCH
) -> TextBatches:
    """Tokenize and pad.

    Args:
        texts: any.
        max_tokens: longer ones are cut.
        sort: by length, so that there is little padding.
        n_per_batch: rows of a batch.
    """
    folder = location(read_bundle("english")) / "text"
    tokenizer = load_tokenizer(folder / "tokenizer.json", max_tokens=max_tokens)
    ids = [np.asarray(tokenizer.encode(text).ids) for text in texts]
    order = sorted(range(len(ids)), key=lambda i: len(ids[i])) if sort else range(len(ids))
    padded = (
        pad([ids[i] for i in order[start : start + n_per_batch]])
        for start in range(0, len(ids), n_per_batch)
    )
    inputs = [
        {"input_ids": torch.from_numpy(rows), "mask": torch.from_numpy(mask)}
        for rows, mask in padded
    ]
    return TextBatches(inputs, list(order))

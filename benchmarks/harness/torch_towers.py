"""A bundle's towers in torch, in float32: the weights before quantization.

The text network of `bundle:multilingual` is published in four bits: both its int8 and this float32
are made of what these stand for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from encoder.models.bundle.declaration import location, read_bundle
from encoder.models.bundle.kinds import Opening, kind_named
from encoder.models.bundle.model import load
from encoder.models.precision import NetworkFiles, Precision
from encoder.networks.bert import load_sentence_bert
from encoder.networks.convolutions import load_aisfx, load_efficientnet_lite
from encoder.onnx.convolutions import LITE2, pooled_blocks
from encoder.runtime.base import Session
from encoder.runtime.onnx import OnnxSession
from encoder.runtime.torch import TorchSession
from encoder.services.sound_classes import SoundClasses
from encoder.services.speech import Speech
from encoder.towers.base import LazyTower, QueryTower, loaded
from encoder.towers.model import Model


def torch_model(bundle: str) -> Model:
    """All towers, loaded; Whisper in float32 on CTranslate2, YAMNet in float32 on ONNX Runtime."""
    declared = read_bundle(bundle)
    folder, model = location(declared), load(declared)
    classes = SoundClasses(partial(OnnxSession, folder / "sounds" / "model.onnx"))
    parts: dict[str, Any] = {
        "speech": Speech(folder / "speech", classes=classes, compute_type="float32")
    }
    for name, part in declared.parts.items():
        opening = Opening(
            part, folder / name, _InTorch(), None, None, parts.__getitem__, declared.parts
        )
        open_part = partial(kind_named(part.kind).open, opening)
        parts.setdefault(name, LazyTower(open_part) if name in model.towers else open_part())
    model = Model(
        model.space,
        {kind: parts[kind] for kind in model.towers},
        {kind: QueryTower(parts[kind]) for kind in model.queries},
    )
    for tower in (*model.towers.values(), *model.queries.values()):
        loaded(tower)
    return model


class _InTorch(Precision):
    """Opens networks in torch where their weights are for torch."""

    def open(self, network: NetworkFiles, n_threads: int | None) -> Session:
        load_network = _NETWORKS.get(network.tower)
        if load_network is None:
            return super().open(network, n_threads)
        return TorchSession(load_network(network.float32.parent))


class _WithStages(nn.Module):
    """EfficientNet-Lite2 with the means of the stages that the picture head reads."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.network = load_efficientnet_lite(folder / "weights.pth", LITE2)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Logits, then means, as `encoder.onnx.convolutions.lay_efficientnet_lite` orders them."""
        states, means = self.network.begin(pixels), []
        for index, block in enumerate(self.network.blocks):
            states = block(states)
            if index in pooled_blocks(LITE2):
                means.append(states.mean((2, 3)))
        last = self.network.end(states).mean((2, 3))
        return (self.network.classify(last), *means, last)


def _sounds(folder: Path) -> nn.Module:
    return load_aisfx(folder / "weights.pth")


_NETWORKS: Mapping[str, Callable[[Path], nn.Module]] = {
    "text": load_sentence_bert,
    "image": _WithStages,
    "audio": _sounds,
}

"""The first fifteen networks of the list, which were not chosen by whoever made the quantizer."""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from tests.unit.encoder.quant.listed import network, of


@network("transposed convolutions")
def unet() -> nn.Module:
    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down, self.deep = nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 32, 3, 2, 1)
            self.up = nn.ConvTranspose2d(32, 16, 2, 2)
            self.last = nn.ConvTranspose2d(32, 4, 4, 2, 1, groups=2)

        def forward(self, pixels: Tensor) -> dict[str, Tensor]:
            first = self.down(pixels).relu()
            up = self.up(self.deep(first).relu())
            return {"out": self.last(torch.cat([first, up], 1))}

    return UNet()


@network("a recurrent layer in both directions")
def tagger() -> nn.Module:
    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(99, 32)
            self.both = nn.LSTM(32, 24, batch_first=True, bidirectional=True)
            self.tags = nn.Linear(48, 12)

        def forward(self, ids: Tensor) -> Tensor:
            return self.tags(self.both(self.words(ids))[0])

    return Tagger()


@network("an output layer tied to the embedding")
def tied() -> nn.Module:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.middle = nn.Embedding(99, 32), nn.Linear(32, 32)
            self.logits = nn.Linear(32, 99, bias=False)
            self.logits.weight = self.words.weight

        def forward(self, ids: Tensor) -> Tensor:
            return self.logits(self.middle(self.words(ids)).relu())

    return Tied()


def _backbone(*widths: int) -> nn.Sequential:
    stages = [("first", nn.Conv2d(3, widths[0], 3, 2, 1))]
    for index, pair in enumerate(pairwise(widths)):
        convolution = nn.Conv2d(*pair, 3, 2, 1, bias=False)
        stages.append(
            (f"stage{index}", nn.Sequential(convolution, nn.BatchNorm2d(pair[1]), nn.ReLU()))
        )
    return nn.Sequential(OrderedDict(stages))


@network("segmentation; two scales of features by name")
def lraspp() -> nn.Module:
    from torchvision.models._utils import IntermediateLayerGetter
    from torchvision.models.segmentation import LRASPP

    backbone = IntermediateLayerGetter(
        _backbone(8, 16, 24), return_layers={"stage0": "low", "stage1": "high"}
    )
    return LRASPP(backbone, 16, 24, num_classes=5, inter_channels=16)


@network("experts in one tensor, by einsum")
def einsum_experts() -> nn.Module:
    class Experts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter, self.router = nn.Linear(24, 32), nn.Linear(32, 4)
            self.up = nn.Parameter(torch.randn(4, 32, 48) / 6)
            self.down = nn.Parameter(torch.randn(4, 48, 32) / 7)

        def forward(self, x: Tensor) -> Tensor:
            x = self.enter(x)
            weights = self.router(x).softmax(-1)
            inner = torch.einsum("nd,edf->nef", x, self.up).relu()
            return torch.einsum("ne,nef,efd->nd", weights, inner, self.down)

    return Experts()


@network(
    "bags of words with offsets",
    lambda: [(torch.randint(99, (40,)), torch.arange(0, 40, 5)) for _ in range(4)],
)
def bag() -> nn.Module:
    class Bag(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.topics = nn.EmbeddingBag(99, 32, mode="mean"), nn.Linear(32, 7)

        def forward(self, ids: Tensor, offsets: Tensor) -> Tensor:
            return self.topics(self.words(ids, offsets))

    return Bag()


@network(
    "a GRU that is given its state and returns it",
    lambda: [(torch.randn(8, 12, 16), torch.randn(1, 8, 24)) for _ in range(4)],
)
def gru_with_state() -> nn.Module:
    class Streaming(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.past, self.score = nn.GRU(16, 24, batch_first=True), nn.Linear(24, 5)

        def forward(self, frames: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
            hidden, state = self.past(frames, state)
            return self.score(hidden), state

    return Streaming()


@network("weights of the module itself, in functional calls", of(8, 20))
def functional_linear() -> nn.Module:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Parameter(torch.randn(32, 20) / 5)
            self.second = nn.Parameter(torch.randn(6, 32) / 6)
            self.bias = nn.Parameter(torch.zeros(6))

        def forward(self, x: Tensor) -> Tensor:
            return functional.linear(
                functional.linear(x, self.first).relu(), self.second, self.bias
            )

    return Functional()


@network("weights as [inputs, outputs]; a cache among the outputs")
def gpt2_with_cache() -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = {"vocab_size": 99, "n_positions": 64, "n_embd": 32, "n_layer": 1, "n_head": 2}
    return GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=1, eos_token_id=1))


@network("a branch that depends on values", of(8, 16))
def branching() -> nn.Module:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.yes, self.no = (nn.Linear(16, 16) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            return self.yes(x) if x.sum() > 0 else self.no(x)

    return Branching()


@network("outputs within outputs")
def nested() -> nn.Module:
    class Nested(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.age, self.name = nn.Linear(16, 24), nn.Linear(24, 3), nn.Linear(24, 9)

        def forward(self, x: Tensor) -> dict[str, Any]:
            x = self.body(x).relu()
            return {"heads": {"age": self.age(x), "names": [self.name(x)]}, "n": len(x), "x": None}

    return Nested()


@network("a complex output", of(8, 32))
def spectrum() -> nn.Module:
    class Spectrum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(32, 32)

        def forward(self, x: Tensor) -> Tensor:
            return torch.fft.rfft(self.mix(x))

    return Spectrum()


def _pictures() -> list[Any]:
    return [[torch.rand(3, 64, 64) for _ in range(2)] for _ in range(4)]


def _as_one_argument() -> list[Any]:
    return [(pictures,) for pictures in _pictures()]


def _spread(detector: nn.Module, times: float) -> nn.Module:
    """Let scores differ, as in a trained network: the order of equal ones would be chance."""
    for name, weight in detector.named_parameters():
        if name.startswith(("head.", "rpn.head.", "roi_heads.box_predictor.")):
            weight.data *= times
    return detector


@network("detection: boxes that come and go", _as_one_argument, "head")
def ssdlite() -> nn.Module:
    from functools import partial

    from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
    from torchvision.models.detection.ssd import SSD
    from torchvision.models.detection.ssdlite import SSDLiteHead

    class Scales(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.extra = _backbone(8, 16, 24), nn.Conv2d(24, 16, 3, 2, 1)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            x = self.body(x)
            return {"0": x, "1": self.extra(x)}

    anchors = DefaultBoxGenerator([[2, 3], [2, 3]], min_ratio=0.2, max_ratio=0.95)
    norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.03)
    head = SSDLiteHead([24, 16], anchors.num_anchors_per_location(), 4, norm)
    return _spread(SSD(Scales(), anchors, (64, 64), 4, head=head, score_thresh=0.001), 4)


@network("detection in two steps", _as_one_argument, "roi_heads.box_predictor")
def faster_rcnn() -> nn.Module:
    from torchvision.models.detection import FasterRCNN
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
    from torchvision.ops import MultiScaleRoIAlign

    backbone: Any = _backbone(8, 16, 24)
    backbone.out_channels = 24
    detector = FasterRCNN(
        backbone,
        min_size=64, max_size=64,
        rpn_anchor_generator=AnchorGenerator(((16, 32),), ((0.5, 1.0),)),
        box_roi_pool=MultiScaleRoIAlign(["0"], 4, 2),
        box_head=TwoMLPHead(24 * 16, 32), box_predictor=FastRCNNPredictor(32, 4),
        rpn_post_nms_top_n_test=20,
    )  # fmt: skip
    return _spread(detector, 20)


@network("spectral norm")
def spectral() -> nn.Module:
    norm = parametrizations.spectral_norm
    first, last = norm(nn.Conv2d(3, 16, 3)), norm(nn.Linear(16, 4))
    return nn.Sequential(first, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), last)

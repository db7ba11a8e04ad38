"""Forty networks to quantize, small and with random weights: published ones and hand-written ones.

Fifteen of them were tried first and were not chosen by whoever made the quantizer. Each has what
some quantizer stumbles over; `batches` are its inputs where none can be made from it.
`python -m tests.unit.encoder.quant.networks` prints the table of `docs/quantization.md`.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from encoder import Quantizer
from encoder.errors import AnymodalError, ModelError
from encoder.quant import sensitivity, synthetic
from encoder.quant.schemes import INT4, INT8


@dataclass(frozen=True)
class Network:
    """One network of the list.

    Args:
        ingredient: what is hard about it.
        make: makes it.
        batches: makes inputs, for when the quantizer asks for them.
        outputs: the output to compare, for when it asks which.
    """

    ingredient: str
    make: Callable[[], nn.Module]
    batches: Callable[[], list[Any]] | None = None
    outputs: str | None = None


NETWORKS: dict[str, Network] = {}


def network(
    ingredient: str, batches: Callable[[], list[Any]] | None = None, outputs: str | None = None
) -> Callable[[Callable[[], nn.Module]], Callable[[], nn.Module]]:
    def add(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
        name = make.__name__.replace("_", " ")
        NETWORKS[name] = Network(ingredient, make, batches, outputs)
        return make

    return add


def of(*shape: int, n: int = 4) -> Callable[[], list[Any]]:
    return lambda: [torch.randn(shape) for _ in range(n)]


# The fifteen.


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
    return _spread(SSD(Scales(), anchors, (64, 64), 4, head=head, score_thresh=0.001), 20)


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


# Published architectures.


@network("depthwise convolutions and batch norms")
def mobilenet() -> nn.Module:
    from torchvision.models.mobilenetv2 import MobileNetV2

    blocks = [[1, 8, 1, 1], [6, 12, 1, 2], [6, 16, 1, 2]]
    return MobileNetV2(num_classes=10, width_mult=0.25, inverted_residual_setting=blocks)


@network("windows of patches, a table of relative positions")
def swin() -> nn.Module:
    from torchvision.models import SwinTransformer

    return SwinTransformer([4, 4], 16, [1, 1], [2, 2], [4, 4], num_classes=10)


@network("patches, class token, `nn.MultiheadAttention`")
def vit() -> nn.Module:
    from torchvision.models import VisionTransformer

    return VisionTransformer(64, 16, 1, 2, 32, 64, num_classes=10)


@network("layer scale")
def convnext() -> nn.Module:
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    return ConvNeXt([CNBlockConfig(16, 32, 1), CNBlockConfig(32, None, 1)], num_classes=10)


_WIDTHS = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
}  # fmt: skip
_TEXT = {**_WIDTHS, "vocab_size": 99, "max_position_embeddings": 64}


@network("several outputs by name")
def bert() -> nn.Module:
    from transformers import BertConfig, BertModel

    return BertModel(BertConfig(**_TEXT))


@network("layers shared by repetition")
def albert() -> nn.Module:
    from transformers import AlbertConfig, AlbertForSequenceClassification

    sizes = {**_TEXT, "num_hidden_layers": 2, "embedding_size": 16}
    return AlbertForSequenceClassification(AlbertConfig(**sizes, num_labels=3))


@network("encoder and decoder, one table")
def bart() -> nn.Module:
    from transformers import BartConfig, BartModel

    return BartModel(
        BartConfig(
            vocab_size=99, max_position_embeddings=64, d_model=32, encoder_layers=1,
            decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
            encoder_ffn_dim=64, decoder_ffn_dim=64, use_cache=False,
        )
    )  # fmt: skip


@network("relative positions by a table, gates")
def t5() -> nn.Module:
    from transformers import T5Config, T5EncoderModel

    sizes = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 1, "num_heads": 2}
    return T5EncoderModel(T5Config(vocab_size=99, **sizes, feed_forward_proj="gated-gelu"))


@network("two towers")
def clip() -> nn.Module:
    from transformers import CLIPConfig, CLIPModel

    text = {**_WIDTHS, "vocab_size": 99, "max_position_embeddings": 16, "eos_token_id": 2}
    vision = {**_WIDTHS, "image_size": 32, "patch_size": 16}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=24))


@network("sound and text in")
def whisper() -> nn.Module:
    from transformers import WhisperConfig, WhisperModel

    return WhisperModel(
        WhisperConfig(
            vocab_size=99, num_mel_bins=16, d_model=32, encoder_layers=1, decoder_layers=1,
            encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=64,
            decoder_ffn_dim=64, max_source_positions=32, max_target_positions=40,
            pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
            use_cache=False,
        )
    )  # fmt: skip


@network("weight norm as a parametrization")
def wav2vec2() -> nn.Module:
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    return Wav2Vec2Model(
        Wav2Vec2Config(
            **_WIDTHS, conv_dim=(16, 16), conv_stride=(10, 8), conv_kernel=(10, 8),
            num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2,
        )
    )  # fmt: skip


@network("rotary positions, grouped queries, a cache")
def qwen3() -> nn.Module:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    heads = {"num_key_value_heads": 1, "head_dim": 16, "tie_word_embeddings": True}
    return Qwen3ForCausalLM(Qwen3Config(**_TEXT, **heads))


@network("experts in one tensor, as published")
def mixtral() -> nn.Module:
    from transformers import MixtralConfig, MixtralModel

    heads = {"num_key_value_heads": 1, "num_local_experts": 4, "use_cache": False}
    return MixtralModel(MixtralConfig(**_TEXT, **heads))


@network("a recurrence over states")
def mamba() -> nn.Module:
    from transformers import MambaConfig, MambaModel

    sizes = {"vocab_size": 99, "hidden_size": 32, "state_size": 8, "num_hidden_layers": 1}
    return MambaModel(MambaConfig(**sizes, use_cache=False))


@network("features in one mapping")
def sentence_transformer() -> nn.Module:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, WordEmbeddings
    from sentence_transformers.sentence_transformer.modules.tokenizer import WhitespaceTokenizer

    words = WordEmbeddings(WhitespaceTokenizer([str(i) for i in range(50)]), torch.randn(50, 32))
    return SentenceTransformer(modules=[words, Pooling(32)], device="cpu")


# Hand-written.


@network("a GRU, and a bilinear form")
def scorer() -> nn.Module:
    class Scorer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bands, self.past = nn.Conv1d(8, 16, 5), nn.GRU(16, 12, batch_first=True)
            self.score = nn.Bilinear(12, 12, 6)

        def forward(self, sound: Tensor) -> Tensor:
            last = self.past(self.bands(sound)[..., :40].transpose(1, 2))[1][0]
            return self.score(last, last)

    return Scorer()


@network("queries, keys and values of three widths")
def attention() -> nn.Module:
    return nn.MultiheadAttention(32, 2, kdim=16, vdim=24, batch_first=True)


@network("a convolution by function, its weight a parameter", of(4, 3, 32, 32))
def functional_conv() -> nn.Module:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kernels = nn.ParameterList([torch.randn(16, 3, 3, 3), torch.randn(16, 4, 3, 3)])
            self.head = nn.Parameter(torch.randn(16, 5) / 4)

        def forward(self, x: Tensor) -> Tensor:
            x = functional.conv2d(x, self.kernels[0] / 5, stride=2).relu()
            x = functional.conv2d(x, self.kernels[1], groups=4).relu()
            return x.mean((2, 3)) @ self.head

    return Functional()


@network("weight norm as a hook")
def hooked() -> nn.Module:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first = nn.utils.weight_norm(nn.Conv1d(4, 16, 5))
    return nn.Sequential(first, nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(16, 4))


@network("one product of matrices per head", of(8, 6, 16))
def batched_products() -> nn.Module:
    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.heads = nn.Parameter(torch.randn(6, 16, 20) / 4)
            self.joined = nn.Linear(20, 10)

        def forward(self, x: Tensor) -> Tensor:
            return self.joined(torch.bmm(x.transpose(0, 1), self.heads).relu().mean(0))

    return Heads()


@network("a branch in the graph", of(8, 16))
def conditional() -> nn.Module:
    class Conditional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(16, 16), nn.Linear(16, 4)

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            x = torch.cond(x.sum() > 0, lambda x: x.relu(), lambda x: x.tanh(), (x,))
            return self.last(x)

    return Conditional()


@network("float64")
def double() -> nn.Module:
    return nn.Sequential(nn.Linear(24, 32), nn.GELU(), nn.Linear(32, 5)).double()


@network("cells in a loop of the forward", of(8, 5, 12))
def cells() -> nn.Module:
    class Cells(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.last = nn.LSTMCell(12, 16), nn.Linear(16, 3)

        def forward(self, frames: Tensor) -> Tensor:
            hidden = cell = frames.new_zeros(len(frames), 16)
            for step in range(frames.shape[1]):
                hidden, cell = self.cell(frames[:, step], (hidden, cell))
            return self.last(hidden)

    return Cells()


@network("a weight that the forward computes of two others")
def adapted() -> nn.Module:
    class Adapted(nn.Linear):
        def __init__(self) -> None:
            super().__init__(24, 32)
            self.down = nn.Parameter(torch.randn(4, 24) / 5)
            self.up = nn.Parameter(torch.randn(32, 4) / 9)

        def forward(self, x: Tensor) -> Tensor:
            return functional.linear(x, self.weight + self.up @ self.down, self.bias)

    return nn.Sequential(Adapted(), nn.GELU(), nn.Linear(32, 6))


@network("volumes, circular padding, groups of channels", of(2, 4, 8, 8, 8))
def volumes() -> nn.Module:
    first = nn.Conv3d(4, 8, 3, padding=1, padding_mode="circular")
    second = nn.Conv3d(8, 8, 3, groups=2)
    return nn.Sequential(
        first, nn.GroupNorm(2, 8), nn.SiLU(), second, nn.Flatten(2), nn.Softmax(-1)
    )


NEAR = 1e-5
"""How near ONNX Runtime comes to torch, as long as it rounds no activations."""


def tried(tried_network: Network, folder: Path) -> str:
    """Take a network through the four lines; what came of it, in words.

    What the quantizer asks for it is given: inputs, and which output to compare.
    """
    torch.manual_seed(0)
    model = tried_network.make().eval()
    given: dict[str, Any] = {}
    quantized = None
    while True:
        try:
            # few inputs and widths, to be quick
            few = mock.patch.object(sensitivity, "candidates", return_value=[INT4, INT8])
            with few, mock.patch.multiple(synthetic, _N_ITEMS=2, _STEPS=0):
                quantizer = Quantizer(model, progress=False, **given)
                quantizer.analyze_sensitivity()
                quantized = quantizer.apply(config="auto")
                written = quantizer.export_onnx(folder / "model.onnx")
        except AnymodalError as error:
            message = str(error)
            assert "\x1b" not in message, message
            assert "\n" not in message, message
            if "calibration=" in message and "calibration" not in given:
                assert tried_network.batches, message
                given["calibration"] = tried_network.batches()
            elif "outputs=" in message and "outputs" not in given:
                assert tried_network.outputs, message
                given["outputs"] = tried_network.outputs
            elif isinstance(error, ModelError) and "branches on a value" in message:
                return "three: the export is refused, its forward branches on a value"
            elif isinstance(error, ModelError) and quantized:
                return "three: the export is refused"
            else:
                raise
            continue
        assert written.difference <= NEAR, written
        assert quantized.schemes
        wanted = {"calibration": "inputs", "outputs": f'`outputs="{tried_network.outputs}"`'}
        return ", given ".join(["yes", *filter(None, [" and ".join(wanted[x] for x in given)])])


def row(name: str, result: str) -> str:
    """A line of the table."""
    return f"| {name} | {NETWORKS[name].ingredient} | {result} |"


if __name__ == "__main__":
    with TemporaryDirectory() as scratch:
        for each, one in NETWORKS.items():
            sys.stdout.write(row(each, tried(one, Path(scratch))) + "\n")

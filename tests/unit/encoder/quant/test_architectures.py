"""Published architectures, small and with random weights: each layer is found, stored, and runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from encoder.quant.calibration import run
from encoder.quant.fit import quantize
from encoder.quant.layers import find_layers, unsupported
from encoder.quant.quantized import model_nbytes
from encoder.quant.schemes import INT8
from encoder.quant.stored import stored_layers
from encoder.quant.synthetic import synthetic


def mobilenet() -> nn.Module:
    from torchvision.models import MobileNetV2

    return MobileNetV2(num_classes=10, width_mult=0.25)


def swin() -> nn.Module:
    from torchvision.models import SwinTransformer

    return SwinTransformer([4, 4], 16, [1, 1], [2, 2], [4, 4], num_classes=10)


def unet() -> nn.Module:
    """Down, and up again by transposed convolutions."""

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


def tagger() -> nn.Module:
    """Words, two directions of an LSTM, tags."""

    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(99, 32)
            self.both = nn.LSTM(32, 24, batch_first=True, bidirectional=True)
            self.tags = nn.Linear(48, 12)

        def forward(self, ids: Tensor) -> Tensor:
            tags: Tensor = self.tags(self.both(self.words(ids))[0])
            return tags

    return Tagger()


def scorer() -> nn.Module:
    """A sound's bands through a GRU, compared with itself by a bilinear form."""

    class Scorer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bands = nn.Conv1d(8, 16, 5)
            self.past = nn.GRU(16, 12, batch_first=True)
            self.score = nn.Bilinear(12, 12, 6)

        def forward(self, sound: Tensor) -> Tensor:
            last = self.past(self.bands(sound)[..., :40].transpose(1, 2))[1][0]
            score: Tensor = self.score(last, last)
            return score

    return Scorer()


def attention() -> nn.Module:
    """Queries, keys and values of three widths."""
    return nn.MultiheadAttention(32, 2, kdim=16, vdim=24, batch_first=True)


def gpt2() -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=99, n_positions=64, n_embd=32, n_layer=1, n_head=2,
            bos_token_id=1, eos_token_id=1, use_cache=False,
        )
    )  # fmt: skip


def bart() -> nn.Module:
    from transformers import BartConfig, BartModel

    return BartModel(
        BartConfig(
            vocab_size=99, max_position_embeddings=64, d_model=32, encoder_layers=1,
            decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
            encoder_ffn_dim=64, decoder_ffn_dim=64, use_cache=False,
        )
    )  # fmt: skip


_WIDTHS = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
}  # fmt: skip


def clip() -> nn.Module:
    from transformers import CLIPConfig, CLIPModel

    text = {**_WIDTHS, "vocab_size": 99, "max_position_embeddings": 16, "eos_token_id": 2}
    vision = {**_WIDTHS, "image_size": 32, "patch_size": 16}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=24))


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


def wav2vec2() -> nn.Module:
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    return Wav2Vec2Model(
        Wav2Vec2Config(
            **_WIDTHS, conv_dim=(16, 16), conv_stride=(10, 8), conv_kernel=(10, 8),
            num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2,
        )
    )  # fmt: skip


def sentence_transformer() -> nn.Module:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, WordEmbeddings
    from sentence_transformers.sentence_transformer.modules.tokenizer import WhitespaceTokenizer

    words = WordEmbeddings(WhitespaceTokenizer([str(i) for i in range(50)]), torch.randn(50, 32))
    return SentenceTransformer(modules=[words, Pooling(32)], device="cpu")


ZOO: dict[str, tuple[Callable[[], nn.Module], int, list[str]]] = {
    "mobilenet": (mobilenet, 53, []),
    "swin": (swin, 11, ["relative_position_bias_table"]),
    "unet": (unet, 4, []),
    "tagger": (tagger, 6, []),
    "scorer": (scorer, 4, []),
    "attention": (attention, 4, []),
    "gpt2": (gpt2, 6, []),
    "bart": (bart, 19, []),
    "clip": (clip, 18, []),
    "whisper": (whisper, 21, []),
    "wav2vec2": (wav2vec2, 9, ["original1"]),
    "sentence-transformers": (sentence_transformer, 1, []),
}
"""What makes each, how many layers it has, and which large parameters stay FP32."""


def cosine(a: Tensor, b: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a.flatten(1), b.flatten(1)).min())


@pytest.mark.parametrize("name", ZOO)
@pytest.mark.slow
def test_any_architecture_is_fitted_in_int8_on_inputs_made_from_it(name: str) -> None:
    make, n_layers, left = ZOO[name]
    torch.manual_seed(0)
    model = make().eval()
    layers = find_layers(model)
    assert len(layers) == n_layers
    assert sorted({each.rpartition(".")[2] for each in unsupported(model)}) == left
    data = synthetic(model, n_steps=0)
    assert data

    fitted = quantize(model, dict.fromkeys(layers, INT8), data.fit).module

    stored = {layer.packed.data_ptr(): layer for _, layer in stored_layers(fitted)}
    assert len(stored) == len(layers)  # what is tied stays tied
    packed = sum(layer.packed_weight.nbytes for layer in stored.values())
    assert packed == sum(layer.nbytes(INT8) for layer in layers.values())
    assert model_nbytes(fitted) < model_nbytes(model)
    before, after = run(model, data.score[0]), run(fitted, data.score[0])
    assert cosine(before, after) > 0.99


LARGE = nn.Sequential(nn.Conv2d(3, 2, 65), nn.AdaptiveAvgPool2d(1))


@pytest.mark.parametrize("model", [LARGE, nn.Bilinear(4, 3, 5)], ids=["large kernel", "two inputs"])
def test_a_model_takes_what_is_made_from_it(model: nn.Module) -> None:
    data = synthetic(model.eval(), n_steps=0)
    assert (len(data.fit), len(data.score)) == (2, 2)


def test_none_for_what_nobody_can_guess() -> None:
    assert synthetic(nn.Sequential(nn.LSTM(8, 6), nn.Linear(6, 3))) is None
    assert synthetic(nn.ReLU()) is None


@pytest.mark.slow
def test_they_come_near_what_batch_norms_recorded() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 3))
    with torch.no_grad():
        model.train()
        for _ in range(50):
            model(torch.randn(8, 3, 16, 16) * 2 + 1)
    model.eval()
    seen: list[Tensor] = []
    hook = model[1].register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))

    data = synthetic(model)
    model(torch.randn(8, 3, 64, 64))  # for comparison: what noise gives
    hook.remove()

    assert data
    for parameter in model.parameters():
        assert parameter.grad is None
    assert not model.training
    recorded = model[1].running_mean
    assert isinstance(recorded, Tensor)
    noise = (seen[-1].mean((0, 2, 3)) - recorded).abs().mean()
    with torch.no_grad():
        made = (model[0](data.fit[0]).mean((0, 2, 3)) - recorded).abs().mean()
    assert made < 0.8 * noise


def test_they_are_the_same_each_time() -> None:
    one, other = (synthetic(nn.Linear(6, 2)) for _ in range(2))
    assert one
    assert other
    assert torch.equal(one.fit[0], other.fit[0])

"""Published architectures in a small size, with random weights."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def mobilenet() -> nn.Module:
    from torchvision.models import MobileNetV2

    return MobileNetV2(num_classes=10, width_mult=0.25)


def densenet() -> nn.Module:
    from torchvision.models import DenseNet

    return DenseNet(growth_rate=8, block_config=(2, 2), num_init_features=16, num_classes=10)


def convnext() -> nn.Module:
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    return ConvNeXt([CNBlockConfig(16, 32, 1), CNBlockConfig(32, None, 1)], num_classes=10)


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


def transformer_encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


def gpt2() -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=99, n_positions=64, n_embd=32, n_layer=1, n_head=2,
            bos_token_id=1, eos_token_id=1, use_cache=False,
        )
    )  # fmt: skip


def t5() -> nn.Module:
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(
        T5Config(vocab_size=99, d_model=32, d_kv=16, d_ff=64, num_layers=1, num_heads=2)
    )


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


def siglip() -> nn.Module:
    from transformers import SiglipConfig, SiglipModel

    text = {**_WIDTHS, "vocab_size": 99, "max_position_embeddings": 16, "projection_size": 32}
    vision = {**_WIDTHS, "image_size": 32, "patch_size": 16}
    return SiglipModel(SiglipConfig(text_config=text, vision_config=vision))


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


def modernbert() -> nn.Module:
    from transformers import ModernBertConfig, ModernBertModel

    return ModernBertModel(ModernBertConfig(**_WIDTHS, vocab_size=99, pad_token_id=0))


def llama() -> nn.Module:
    from transformers import LlamaConfig, LlamaModel

    return LlamaModel(LlamaConfig(**_WIDTHS, num_key_value_heads=1, vocab_size=99, use_cache=False))


def sentence_transformer() -> nn.Module:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, WordEmbeddings
    from sentence_transformers.sentence_transformer.modules.tokenizer import WhitespaceTokenizer

    words = WordEmbeddings(WhitespaceTokenizer([str(i) for i in range(50)]), torch.randn(50, 32))
    return SentenceTransformer(modules=[words, Pooling(32)], device="cpu")


ZOO: dict[str, tuple[Callable[[], nn.Module], int, list[str]]] = {
    "mobilenet": (mobilenet, 53, []),
    "densenet": (densenet, 11, []),
    "convnext": (convnext, 9, []),
    "swin": (swin, 11, ["relative_position_bias_table"]),
    "unet": (unet, 4, []),
    "tagger": (tagger, 6, []),
    "scorer": (scorer, 4, []),
    "transformer encoder": (transformer_encoder, 8, []),
    "gpt2": (gpt2, 6, []),
    "t5": (t5, 8, []),
    "bart": (bart, 19, []),
    "clip": (clip, 18, []),
    "siglip": (siglip, 21, []),
    "whisper": (whisper, 21, []),
    "wav2vec2": (wav2vec2, 9, ["original1"]),
    "modernbert": (modernbert, 5, []),
    "llama": (llama, 8, []),
    "sentence-transformers": (sentence_transformer, 1, []),
}
"""What makes each, how many layers it has, and which large parameters stay FP32."""

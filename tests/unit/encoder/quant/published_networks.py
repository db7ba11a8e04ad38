"""Published architectures, made small."""

from __future__ import annotations

import torch
from torch import nn

from tests.unit.encoder.quant.listed import network


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

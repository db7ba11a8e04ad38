"""Tiny random models of the real classes, saved as a hub would serve them."""

from __future__ import annotations

import string
from functools import partial
from pathlib import Path

import torch
import transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling, StaticEmbedding
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

_LETTERS = [*string.ascii_lowercase, *string.digits, *string.punctuation]
_GEMMA_TOKENS = {
    "image_token": "<|image|>",
    "boi_token": "<|image>",
    "eoi_token": "<image|>",
    "audio_token": "<|audio|>",
    "boa_token": "<|audio>",
    "eoa_token": "<audio|>",
}
_GEMMA_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% for c in m.content %}"
    "{% if c.type == 'text' %}{{ c.text }}{% else %}{{ '<|' + c.type + '|>' }}{% endif %}"
    "{% endfor %}{% endfor %}{{ eos_token }}"
)


def tokenizer(marks: list[str], pattern: str) -> Tokenizer:
    """One token per letter; ``pattern`` such as ``"<s> $A </s>"`` says where the marks go."""
    unknown = next(mark for mark in marks if "unk" in mark.lower())
    words = [*marks, *_LETTERS, *(f"##{letter}" for letter in _LETTERS)]
    made = Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token=unknown))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    used = [(mark, marks.index(mark)) for mark in marks if mark in pattern.split()]
    made.post_processor = processors.TemplateProcessing(single=pattern, special_tokens=used)
    return made


def _fast(made: Tokenizer, **settings: object) -> transformers.PreTrainedTokenizerFast:
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, **settings)


def save_sentence_encoder(folder: Path, prompts: dict[str, str] | None = None) -> None:
    """A BERT with mean pooling: text, 32-d."""
    made = tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], "[CLS] $A [SEP]")
    config = transformers.BertConfig(
        vocab_size=made.get_vocab_size(),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
    )
    transformers.BertModel(config).save_pretrained(folder / "bert")
    marks = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]"}
    _fast(made, **marks, sep_token="[SEP]").save_pretrained(folder / "bert")
    bert = Transformer(str(folder / "bert"))
    model = SentenceTransformer(modules=[bert, Pooling(32), Normalize()], prompts=prompts)
    model.save_pretrained(str(folder))


def save_modernbert(folder: Path) -> None:
    """A ModernBERT with a global and a local layer, mean pooling: text, 32-d."""
    made = tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], "[CLS] $A [SEP]")
    config = transformers.ModernBertConfig(
        vocab_size=made.get_vocab_size(),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=1024,
        local_attention=32,
        pad_token_id=0,
    )
    transformers.ModernBertModel(config).save_pretrained(folder / "bert")
    marks = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]"}
    _fast(made, **marks, sep_token="[SEP]").save_pretrained(folder / "bert")
    modules = [Transformer(str(folder / "bert")), Pooling(32), Normalize()]
    SentenceTransformer(modules=modules).save_pretrained(str(folder))


def save_text_encoder(folder: Path, kind: str, **sizes: object) -> None:
    """A text encoder of one of these classes, 32-d or of other sizes."""
    bert = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    roberta = ["<s>", "<pad>", "</s>", "<unk>"]
    marks, pattern, pooling, side = {
        "bert": (bert, "[CLS] $A [SEP]", "cls", "right"),
        "modernbert": (bert, "[CLS] $A [SEP]", "mean", "right"),
        "xlm-roberta": (roberta, "<s> $A </s>", "cls", "right"),
        "mpnet": (roberta, "<s> $A </s>", "mean", "right"),
        "nomic_bert": (bert, "[CLS] $A [SEP]", "mean", "right"),
        "distilbert": (bert, "[CLS] $A [SEP]", "mean", "right"),
        "electra": (bert, "[CLS] $A [SEP]", "cls", "right"),
        "gemma3_text": (roberta, "<s> $A </s>", "mean", "right"),
        "gte": (roberta, "<s> $A </s>", "cls", "right"),
        "qwen3": (["<pad>", "<unk>", "<eos>"], "$A <eos>", "lasttoken", "left"),
    }[kind]
    made = tokenizer(marks, pattern)
    pad = next(mark for mark in marks if "pad" in mark.lower())
    unknown = next(mark for mark in marks if "unk" in mark.lower())
    own = {"num_key_value_heads": 1, "head_dim": 16} if kind == "qwen3" else {}
    small = {
        "vocab_size": made.get_vocab_size(),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 64,
    }
    config = transformers.AutoConfig.for_model(
        kind,
        pad_token_id=marks.index(pad),
        bos_token_id=0,
        eos_token_id=2,
        **{**small, **own, **sizes},
    )
    transformers.AutoModel.from_config(config).save_pretrained(folder / "network")
    fast = _fast(made, pad_token=pad, unk_token=unknown, padding_side=side)
    fast.save_pretrained(folder / "network")
    network = Transformer(str(folder / "network"))
    modules = [network, Pooling(config.hidden_size, pooling_mode=pooling), Normalize()]
    SentenceTransformer(modules=modules).save_pretrained(str(folder))


def save_static(folder: Path) -> None:
    """A table of token vectors: text, 8-d."""
    made = tokenizer(["[UNK]"], "$A")
    SentenceTransformer(modules=[StaticEmbedding(made, embedding_dim=8)]).save_pretrained(
        str(folder)
    )


def save_clip(folder: Path, config: transformers.CLIPConfig | None = None) -> None:
    """CLIP: text and image, 24-d, or as the settings say."""
    made = tokenizer(["<pad>", "<unk>", "<bos>", "<eos>"], "<bos> $A <eos>")
    width = {"hidden_size": 32, "intermediate_size": 64}
    depth = {"num_hidden_layers": 1, "num_attention_heads": 2}
    marks = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    text = {"vocab_size": made.get_vocab_size(), "max_position_embeddings": 16, **marks}
    config = config or transformers.CLIPConfig(
        text_config={**text, **width, **depth},
        # patches are merged between two layers
        vision_config={"image_size": 32, "patch_size": 8, **width, **depth, "num_hidden_layers": 2},
        projection_dim=24,
    )
    transformers.CLIPModel(config).save_pretrained(folder)
    side = config.vision_config.image_size
    images = transformers.CLIPImageProcessor(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side}
    )
    fast = _fast(made, pad_token="<pad>", unk_token="<unk>", bos_token="<bos>", eos_token="<eos>")
    transformers.CLIPProcessor(images, fast).save_pretrained(folder)


def save_siglip2(folder: Path, config: transformers.Siglip2Config | None = None) -> None:
    """SigLIP 2 with flexible resolution: text and image, 32-d, or as the settings say."""
    made = tokenizer(["<pad>", "<eos>", "<bos>", "<unk>"], "$A <eos>")
    width = {"hidden_size": 32, "intermediate_size": 64}
    depth = {"num_hidden_layers": 1, "num_attention_heads": 2}
    marks = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 1}
    text = {"vocab_size": made.get_vocab_size(), "max_position_embeddings": 16, **marks}
    config = config or transformers.Siglip2Config(
        text_config={**text, "projection_size": 32, **width, **depth},
        vision_config={"num_patches": 16, "patch_size": 16, **width, **depth},
    )
    transformers.Siglip2Model(config).save_pretrained(folder)
    fast = _fast(
        made,
        pad_token="<pad>",
        unk_token="<unk>",
        eos_token="<eos>",
        model_input_names=["input_ids"],
    )
    processor = transformers.Siglip2Processor(transformers.Siglip2ImageProcessor(), fast)
    processor.save_pretrained(folder)


def save_clap(folder: Path, *, fusion: bool = False, published: bool = False) -> None:
    """CLAP: text and audio (2 s windows at 8 kHz), 24-d, or in the size it is published in."""
    made = tokenizer(["<s>", "<pad>", "</s>", "<unk>"], "<s> $A </s>")
    small = transformers.ClapConfig(
        text_config={
            "vocab_size": made.get_vocab_size(),
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "max_position_embeddings": 40,
            "projection_dim": 24,
        },
        audio_config={
            "num_mel_bins": 16,
            "spec_size": 64,
            "patch_size": 4,
            "patch_stride": [4, 4],
            "window_size": 4,
            "hidden_size": 32,
            "patch_embeds_hidden_size": 16,
            "depths": [1, 1],
            "num_attention_heads": [2, 2],
            "num_hidden_layers": 2,
            "projection_dim": 24,
            "enable_fusion": fusion,
        },
        projection_dim=24,
    )
    config = transformers.ClapConfig() if published else small
    transformers.ClapModel(config).save_pretrained(folder)
    coarse = {
        "feature_size": 16,
        "sampling_rate": 8000,
        "hop_length": 80,
        "fft_window_size": 256,
        "max_length_s": 2,
        "frequency_max": 4000,
    }
    extractor = transformers.ClapFeatureExtractor(
        truncation="fusion" if fusion else "rand_trunc", **({} if published else coarse)
    )
    marks = {"pad_token": "<pad>", "unk_token": "<unk>", "cls_token": "<s>", "sep_token": "</s>"}
    fast = _fast(made, **marks, model_max_length=32)
    transformers.ClapProcessor(extractor, fast).save_pretrained(folder)


def save_embedding_gemma(folder: Path, *, published: bool = False, n_layers: int = 2) -> None:
    """EmbeddingGemma 2: text, image, audio and video, 24-d, or in the size it is published in."""
    marks = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *_GEMMA_TOKENS.values(), "<|video|>"]
    made = tokenizer(marks, "$A")
    network = _gemma_model(made, published, n_layers)
    network.save_pretrained(folder / "gemma")
    fast = _fast(
        made,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<bos>",
        eos_token="<eos>",
        mask_token="<mask>",
        extra_special_tokens=_GEMMA_TOKENS,
    )
    transformers.EmbeddingGemma2Processor(
        feature_extractor=transformers.Gemma4AudioFeatureExtractor(),
        image_processor=transformers.Gemma4ImageProcessor(max_soft_tokens=280 if published else 70),
        video_processor=transformers.EmbeddingGemma2VideoProcessor(),
        tokenizer=fast,
        chat_template=_GEMMA_TEMPLATE,
    ).save_pretrained(folder / "gemma")
    gemma = Transformer(str(folder / "gemma"))
    dim = network.config.text_config.embedding_dim
    prompts = {"query": "query: ", "Document": "title: none | text: "}
    model = SentenceTransformer(modules=[gemma, Pooling(dim), Normalize()], prompts=prompts)
    model.save_pretrained(str(folder))


def _gemma_model(made: Tokenizer, published: bool, n_layers: int) -> transformers.PreTrainedModel:
    tokens = {name: made.token_to_id(token) for name, token in _GEMMA_TOKENS.items()}
    ids = {f"{name}_id": token for name, token in tokens.items() if name != "eoa_token"}
    if published:
        config = transformers.EmbeddingGemma2Config(
            text_config={},
            vision_config={"model_type": "gemma4_vision"},
            audio_config={"model_type": "gemma4_audio"},
            video_token_id=made.token_to_id("<|video|>"),
            eoa_token_index=tokens["eoa_token"],
            **ids,
        )
        model = transformers.EmbeddingGemma2Model(config)
        for name, norm in model.named_parameters():
            if name.endswith(("q_norm.weight", "k_norm.weight")):
                # otherwise logits are not scaled, and saturate
                torch.nn.init.constant_(norm, norm.shape[0] ** -0.25)
        return model
    one_layer = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.EmbeddingGemma2Config(
        text_config={
            "vocab_size": made.get_vocab_size(),
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": n_layers,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 16,
            "global_head_dim": 16,
            "hidden_size_per_layer_input": 8,
            "embedding_dim": 24,
            "sliding_window_pattern": 2,
            "max_position_embeddings": 8192,
        },
        vision_config={
            "model_type": "gemma4_vision",
            "intermediate_size": 64,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "position_embedding_size": 512,
            **one_layer,
        },
        audio_config={"model_type": "gemma4_audio", "output_proj_dims": 32, **one_layer},
        video_token_id=made.token_to_id("<|video|>"),
        eoa_token_index=tokens["eoa_token"],
        **ids,
    )
    return transformers.EmbeddingGemma2Model(config)


def save(kind: str, folder: Path) -> Path:
    """Make the model called ``kind``, the same in each run, in ``folder``."""
    makers = {
        "sentence": save_sentence_encoder,
        "static": save_static,
        "modernbert": save_modernbert,
        **{
            name: partial(save_text_encoder, kind=name, num_hidden_layers=1)
            for name in ("bert", "xlm-roberta", "mpnet", "nomic_bert", "gte", "qwen3")
        },
        "clip": save_clip,
        "siglip2": save_siglip2,
        "clap": lambda where: save_clap(where, fusion=False),
        "clap_fusion": lambda where: save_clap(where, fusion=True),
        "embedding_gemma": save_embedding_gemma,
    }
    with torch.random.fork_rng():
        torch.manual_seed(7)
        makers[kind](folder)
    return folder

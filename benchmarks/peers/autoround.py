"""AutoRound: rounding learned by signed gradients, block by block (Cheng et al. 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from benchmarks.peers.base import Inputs
from encoder.models.bundle.declaration import location, read_bundle
from encoder.networks.bert import SentenceBert
from encoder.onnx.bert import rename_weights

_N_TOKENS = 64
"""The length of each calibration text: longer ones are cut, shorter ones left out."""
_N_STEPS = 200


def round_weights(
    model: nn.Module, calibration: Sequence[Inputs], n_bits: int, group_size: int | None = None
) -> nn.Module:
    """See `benchmarks.peers.base.RoundWeights`; Linear layers of a `SentenceBert`, in 4 bits only.

    It takes models from transformers, so the weights are copied there and back.
    """
    from auto_round import AutoRound

    assert n_bits == 4, n_bits
    assert isinstance(model, SentenceBert)
    bert, names = _as_bert(model)
    texts = _texts(calibration)
    rounder = AutoRound(
        bert,
        tokenizer=_tokenizer(),
        scheme="W4A16",
        group_size=group_size or -1,
        sym=True,
        dataset=DataLoader(texts, batch_size=None),
        iters=_N_STEPS,
        nsamples=len(texts),
        seqlen=_N_TOKENS,
        device_map="cpu",
        amp=False,
        enable_torch_compile=False,
    )
    rounded = rounder.quantize()[0].state_dict()
    found = SentenceBert(model.size)
    found.load_state_dict({new: rounded[old].float() for new, old in names.items()})
    return found.eval()


def _as_bert(model: SentenceBert) -> tuple[Any, dict[str, str]]:
    """The same network in transformers, and its names by ours."""
    from transformers import BertConfig, BertModel

    size = model.size
    config = BertConfig(
        vocab_size=size.vocab_size,
        hidden_size=size.hidden_dim,
        num_hidden_layers=size.n_layers,
        num_attention_heads=size.n_heads,
        intermediate_size=size.ffn_dim,
        max_position_embeddings=size.n_positions,
        layer_norm_eps=size.norm_eps,
    )
    bert = BertModel(config, add_pooling_layer=False).eval()
    names = rename_weights({name: name for name in bert.state_dict()}, size.n_layers)
    own = model.state_dict()
    bert.load_state_dict({old: own[new] for new, old in names.items()}, strict=False)
    return bert, names


def _tokenizer() -> Any:
    """A tokenizer, which it insists on although the texts are token ids already."""
    from transformers import PreTrainedTokenizerFast

    path = location(read_bundle("english")) / "text" / "tokenizer.json"
    return PreTrainedTokenizerFast(tokenizer_file=str(path), pad_token="[PAD]")


def _texts(calibration: Sequence[Inputs]) -> list[Inputs]:
    found = []
    for batch in calibration:
        for ids, mask in zip(batch["input_ids"], batch["mask"], strict=True):
            if mask.sum() >= _N_TOKENS:
                cut = ids[None, :_N_TOKENS].clone()
                found.append({"input_ids": cut, "attention_mask": torch.ones_like(cut)})
    return found

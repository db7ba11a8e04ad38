"""The networks of a model whose text network reads pictures and sounds as soft tokens.

Each medium has a graph of its own up to the soft tokens; the text network is one graph for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import Tensor, nn


def soft_text(model: SentenceTransformer, token_ids: Sequence[int]) -> nn.Module:
    """The text network of a model that reads media as tokens.

    Takes ``soft_tokens`` [n_soft, width], which are put, in order, where ``input_ids`` name media.
    Where they name none, there must be one row, which is not read.
    """
    import torch
    from torch import nn

    network: Any = model[0].model
    pad_id = network.config.text_config.pad_token_id

    class SoftText(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = network.get_input_embeddings()
            self.text = network.language_model
            self.rest = nn.ModuleList([model[i] for i in range(1, len(model))])

        def forward(self, features: dict[str, Tensor]) -> Tensor:
            ids, mask = features["input_ids"], features["attention_mask"]
            is_soft = torch.zeros_like(ids, dtype=torch.bool)
            for token_id in token_ids:
                is_soft = is_soft | (ids == token_id)
            index = (is_soft.flatten().long().cumsum(0) - 1).clamp(min=0).reshape(ids.shape)
            embeds = torch.where(
                is_soft[..., None],
                features["soft_tokens"][index],
                self.embed(torch.where(is_soft, pad_id, ids)),
            )
            outputs = self.text(inputs_embeds=embeds, attention_mask=mask, return_dict=True)
            passed: dict[str, Any] = {
                "token_embeddings": outputs.last_hidden_state,
                "attention_mask": mask,
            }
            for module in self.rest:
                passed = module(passed)
            vectors: Tensor = passed["sentence_embedding"]
            return vectors

    return SoftText().eval()


def soft_pictures(model: SentenceTransformer) -> nn.Module:
    """From patches to soft tokens [n_soft, width], those of all pictures one after the other."""
    from torch import nn

    network: Any = model[0].model

    class SoftPictures(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tower = network.vision_tower
            self.embed = network.embed_vision

        def forward(self, features: dict[str, Tensor]) -> Tensor:
            outputs = self.tower(
                pixel_values=features["pixel_values"],
                pixel_position_ids=features["image_position_ids"],
                return_dict=True,
            )
            tokens: Tensor = self.embed(inputs_embeds=outputs.last_hidden_state)
            return tokens

    return SoftPictures().eval()


def soft_sounds(model: SentenceTransformer) -> nn.Module:
    """From spectrograms to soft tokens [n_soft, width]."""
    from torch import nn

    network: Any = model[0].model

    class SoftSounds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tower = network.audio_tower
            self.embed = network.embed_audio

        def forward(self, features: dict[str, Tensor]) -> Tensor:
            mask = features["input_features_mask"]
            heard = self.tower(features["input_features"], mask, return_dict=True)
            tokens: Tensor = self.embed(inputs_embeds=heard.last_hidden_state)
            real_tokens: Tensor = tokens[heard.attention_mask]
            return real_tokens

    return SoftSounds().eval()

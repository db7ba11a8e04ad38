"""A hub model's networks as ONNX files: one for each modality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encoder.errors import ModelError
from encoder.prepare.hub.forms import traceable
from encoder.runtime.onnx import OnnxSession

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import Tensor, nn

_TOLERANCE = 2e-3
"""The largest difference from torch, as a share of the largest value of an output."""

Features = Mapping[str, "Tensor"]


@dataclass(frozen=True, eq=False)
class TracedNetwork:
    """A network that becomes a graph.

    Args:
        module: takes a mapping of tensors, gives a tensor for each output.
        features: what it is traced with; every axis that varies is longer than 1.
        axes: the axes of each input that vary.
        comparisons: more features, of other sizes, that are computed to compare.
        outputs: their names.
    """

    module: nn.Module
    features: Features
    axes: Mapping[str, Sequence[int]]
    comparisons: Sequence[Features] = ()
    outputs: Sequence[str] = ("vectors",)

    @property
    def inputs(self) -> dict[str, str]:
        """The dtype of each input."""
        return {name: str(value.numpy().dtype) for name, value in self.features.items()}


def whole(model: SentenceTransformer, fixed: Mapping[str, Any]) -> nn.Module:
    """All of a model's modules, one after the other."""
    from torch import nn

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, features: dict[str, Tensor]) -> Tensor:
            vectors: Tensor = self.model({**features, **fixed})["sentence_embedding"]
            return vectors

    return Whole().eval()


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


def export(name: str, network: TracedNetwork, path: Path) -> None:
    """Write a network with its weights in one file next to it, and compare it with torch.

    Raises:
        ModelError: it cannot be exported, or the graph gives different values.
    """
    import torch

    from encoder.quant.tracing import trace

    try:
        with traceable(network.module), torch.no_grad():
            program = trace(
                network.module, network.features, network.axes,
                outputs=network.outputs, argument="features",
            )  # fmt: skip
            program.optimize()
            program.save(path, external_data=True)
    # whatever the exporter may raise on a network that it cannot follow
    except Exception as error:
        reason = str(error.__cause__ or error).strip().partition("\n")[0]
        raise ModelError(
            f"{name} cannot be exported ({path.stem}): {type(error).__name__}: {reason[:300]}.",
            remedy="Leave out quantization to run it with torch.",
        ) from error
    _compare(name, network, path)


def _compare(name: str, network: TracedNetwork, path: Path) -> None:
    import torch

    session = OnnxSession(path)
    for features in (network.features, *network.comparisons):
        with torch.inference_mode():
            expected_output = network.module(dict(features))
        expected = [
            output.numpy()
            for output in (
                expected_output if isinstance(expected_output, tuple) else (expected_output,)
            )
        ]
        outputs = session.run({key: value.numpy() for key, value in features.items()})
        difference = max(map(_difference, outputs, expected))
        if not difference <= _TOLERANCE:
            raise ModelError(
                f"{name}: the graph {path.name} differs from torch by {difference:.2g} of the "
                f"largest value, more than {_TOLERANCE:.2g}.",
                remedy="Leave out quantization to run it with torch.",
            )


def _difference(outputs: NDArray[Any], expected: NDArray[Any]) -> float:
    """The largest difference as a share of the largest value; 1 if the shapes differ."""
    if outputs.shape != expected.shape:
        return 1.0
    return float(np.abs(outputs - expected).max() / np.abs(expected).max())

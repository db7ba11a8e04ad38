"""A hub model's text network with a gate: long texts lose tokens from layer to layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from encoder.errors import ModelError
from encoder.towers.base import TextStats

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import Tensor, nn

    from encoder.dsre.gatefile import GateFile
    from encoder.dsre.network import Pooling

TextFeatures = Mapping[str, Any]
_MEDIA = {"pixel_values", "pixel_values_videos", "input_features"}
"""Features of contents other than texts."""
_REMEDY = 'Leave out enable_dsre, or set it to "auto", to run it dense.'


@dataclass(frozen=True, eq=False)
class TextNetwork:
    """The parts of a sentence-transformers model that embeds texts.

    ``whole`` is the model as it runs without a gate, ``transformer`` the network below its
    ``pooling``, and ``rest`` what comes after that, such as a norm.
    """

    whole: Callable[..., Any]
    transformer: nn.Module
    pooling: Pooling
    rest: Sequence[nn.Module]


def text_network(name: str, model: SentenceTransformer, prompt: str = "") -> TextNetwork:
    """The parts of a model that a gate needs to know.

    Raises:
        ModelError: its architecture is unknown, or its pooling is not mean, CLS or last token.
    """
    from sentence_transformers.sentence_transformer import modules

    from encoder.dsre.adapters import blocks_of

    transformer, pooling = model[0], model[1] if len(model) > 1 else None
    network = getattr(transformer, "model", None)
    if not isinstance(pooling, modules.Pooling) or network is None:
        raise ModelError(f"{name} is not a text encoder with pooling.", remedy=_REMEDY)
    blocks_of(network)
    modes = pooling.pooling_mode  # a name, or several
    mode = modes if isinstance(modes, str) else "+".join(modes)
    poolings: dict[str, Pooling] = {"mean": "mean", "cls": "cls", "lasttoken": "last"}
    if mode not in poolings:
        raise ModelError(
            f"{name} pools by {mode!r}; a gate supports {', '.join(poolings)}.", remedy=_REMEDY
        )
    if prompt and not pooling.include_prompt:
        raise ModelError(f"{name} excludes its prompt from the pooling.", remedy=_REMEDY)
    return TextNetwork(model, network, poolings[mode], [model[i] for i in range(2, len(model))])


class MergingForward:
    """A sentence encoder's forward; short texts run through the unchanged network.

    Raises:
        ModelError: the gate was made for another network.
    """

    def __init__(self, network: TextNetwork, gate: GateFile) -> None:
        from encoder.dsre.network import SparseEncoder

        self._network = network
        self._gate = gate
        sparse = SparseEncoder(network.transformer, gate, pooling=network.pooling)
        self._sparse = sparse.eval()

    def __call__(self, features: TextFeatures, **options: Any) -> dict[str, Any]:
        """The model's ``sentence_embedding`` [n, embed_dim]; for texts also `TextStats`, ``stats``.

        The network may also take pictures.
        """
        import torch

        if features.keys() & _MEDIA:
            return {"sentence_embedding": self._dense(features, options)}
        n_tokens = features["attention_mask"].sum(1)
        long = n_tokens >= self._gate.settings.min_tokens
        shape = self._sparse.blocks.shape
        n_left = n_tokens[:, None].repeat(1, shape.n_layers)
        if long.any():
            merged, n_left[long] = self._merge(_rows(features, long))
            short = [] if long.all() else [self._dense(_rows(features, ~long), options)]
            order = torch.cat([(~long).nonzero(), long.nonzero()]).squeeze(1)
            embedding = torch.cat([*short, merged])[order.argsort()]
        else:
            embedding = self._dense(features, options)
        stats = TextStats.of_gate(
            self._gate.settings,
            shape,
            n_tokens.cpu().numpy(),
            n_left.cpu().numpy(),
            cls_only=self._sparse.cls_only,
        )
        return {"sentence_embedding": embedding, "stats": stats}

    def _dense(self, features: TextFeatures, options: Mapping[str, Any]) -> Tensor:
        embedding: Tensor = self._network.whole(dict(features), **options)["sentence_embedding"]
        return embedding

    def _merge(self, features: TextFeatures) -> tuple[Tensor, Tensor]:
        """Embeddings and kept tokens."""
        pooled, n_left = self._sparse(*_from_the_left(features))
        features_of_text: dict[str, Any] = {"sentence_embedding": pooled}
        for module in self._network.rest:
            features_of_text = module(features_of_text)
        return features_of_text["sentence_embedding"], n_left


def _rows(features: TextFeatures, which: Tensor) -> dict[str, Any]:
    """Some of the texts, without the padding that only the others needed."""
    from torch import Tensor

    shape = features["input_ids"].shape
    used = features["attention_mask"][which].bool().any(0)
    return {
        name: value[which][:, used] if isinstance(value, Tensor) and value.shape == shape else value
        for name, value in features.items()
    }


def _from_the_left(features: TextFeatures) -> tuple[Tensor, Tensor]:
    """Token ids, padded on the right whatever the tokenizer does, and a float mask [n, length].

    That does not matter for rotary positions: only the distance between tokens counts.
    """
    mask = features["attention_mask"]
    order = mask.argsort(dim=1, descending=True, stable=True)
    return features["input_ids"].gather(1, order), mask.gather(1, order).float()

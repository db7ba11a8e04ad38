"""Our encoder as ``mteb`` runs it: on its text tasks, on MIEB (pictures) and MAEB (sounds).

    import mteb
    from examples.mteb_encoder import MtebEncoder
    mteb.evaluate(MtebEncoder("bundle:english"), mteb.get_tasks(tasks=["SciFact"]))

It implements ``mteb.models.models_protocols.EncoderProtocol``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from encoder import MultiModalEncoder
from encoder.errors import InputError
from encoder.space import l2_normalize
from encoder.types import (
    AUDIO,
    DOCUMENT,
    IMAGE,
    QUERY,
    TEXT,
    Embeddings,
    Item,
    Modality,
    Role,
    Waveform,
)

_KINDS = (TEXT, IMAGE, AUDIO)
_UNSAID = (
    "loader",
    "release_date",
    "languages",
    "n_parameters",
    "memory_usage_mb",
    "max_tokens",
    "license",
    "open_weights",
    "training_datasets",
    "public_training_code",
    "public_training_data",
)
"""Facts that mteb wants about a model and that a bundle does not state in mteb's terms."""


class MtebEncoder:
    """A model for ``mteb.evaluate``.

    Args:
        model: its name, or an encoder; None for the one in the settings.
        options: of `encoder.MultiModalEncoder`.

    Raises:
        ModelError: the model cannot be loaded.
    """

    def __init__(self, model: str | MultiModalEncoder | None = None, **options: Any) -> None:
        self.encoder = (
            model if isinstance(model, MultiModalEncoder) else MultiModalEncoder(model, **options)
        )

    def encode(
        self,
        inputs: Iterable[Mapping[str, Sequence[Any]]],
        *,
        prompt_type: Any = None,
        **_task: Any,
    ) -> Embeddings:
        """Unit rows [n, embed_dim] of batches that hold ``text``, ``image`` or ``audio``.

        An item with several of them gets their normalised sum, as in MIEB.

        Args:
            inputs: batches.
            prompt_type: ``query`` or ``document``: what the items are encoded as.
            _task: what mteb says about the task.

        Raises:
            InputError: a batch holds none of the three.
        """
        role = QUERY if getattr(prompt_type, "value", prompt_type) == "query" else DOCUMENT
        rows = [self._encode(batch, role) for batch in inputs]
        return np.concatenate(rows) if rows else np.zeros((0, self.encoder.embed_dim), np.float32)

    def _encode(self, batch: Mapping[str, Sequence[Any]], role: Role) -> Embeddings:
        parts = [
            self.encoder.encode_items(
                [Item(modality, _content(modality, raw_item), role) for raw_item in batch[modality]]
            )
            for modality in _KINDS
            if modality in batch
        ]
        if not parts:
            raise InputError("a batch of mteb", got=", ".join(batch), wanted="text, image or audio")
        return parts[0] if len(parts) == 1 else l2_normalize(np.sum(parts, axis=0))

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosines, [n_1, n_2]."""
        from mteb.similarity_functions import cos_sim

        return cos_sim(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosines, [n]."""
        from mteb.similarity_functions import pairwise_cos_sim

        return pairwise_cos_sim(embeddings1, embeddings2)

    @property
    def mteb_model_meta(self) -> Any:
        """What mteb writes next to its results; the revision is the fingerprint of the space."""
        from mteb.models.model_meta import ModelMeta

        encoder = self.encoder
        meta = {
            "name": "anymodal/" + encoder.model.replace("/", "__").replace(":", "-"),
            "revision": encoder.space.fingerprint,
            "embed_dim": encoder.embed_dim,
            "framework": [],
            "similarity_fn_name": "cosine",
            "use_instructions": bool(encoder.space.asymmetric),
            "modalities": [str(modality) for modality in _KINDS if modality in encoder.modalities],
        }
        return ModelMeta(**dict.fromkeys(_UNSAID), **meta)


def _content(modality: Modality, raw: Any) -> Any:
    if modality == TEXT:
        return raw
    if modality == IMAGE:
        return np.asarray(raw.convert("RGB"))
    if isinstance(raw, Mapping):
        samples, rate_hz = raw["array"], int(raw["sampling_rate"])
    else:  # torchcodec's decoder
        heard = raw.get_all_samples()
        samples, rate_hz = heard.data.numpy(), int(heard.sample_rate)
    sound = np.asarray(samples, np.float32)
    return Waveform(sound.mean(axis=0) if sound.ndim > 1 else sound, rate_hz)

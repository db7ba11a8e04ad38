"""Towers over one sentence-transformers model that embeds every modality it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from copy import copy
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encoder.errors import ModelError
from encoder.space import l2_normalize
from encoder.towers import video
from encoder.towers.audio.windows import mean_of_windows, objects, sound_windows
from encoder.towers.base import Prepared
from encoder.towers.encoded import Encoded, TextStats
from encoder.towers.hub.merging import MergingForward
from encoder.types import DOCUMENT, QUERY, Clip, Embeddings, Role, Spectrogram, Waveform

if TYPE_CHECKING:
    from PIL.Image import Image
    from sentence_transformers import SentenceTransformer

_BATCH = 32
_READERS = 4
"""Threads that prepare batches for a GPU."""


class JointEncoder:
    """A loaded sentence-transformers model. Safe to use from several threads.

    Args:
        name: what errors call it.
        model: on its device.
        n_threads: CPU threads of one run; None for every core.

    ``forward`` turns features into embeddings; it is the model unless it was replaced.
    ``role`` goes to models that route queries and documents through different parts.
    ``ahead`` says whether batches are prepared while others run: on a GPU they are, as it would
    wait for pictures; on a CPU they are not, as that would take cores from the network.
    """

    def __init__(self, name: str, model: SentenceTransformer, n_threads: int | None = None) -> None:
        self.name = name
        self.model = model
        self._n_threads = n_threads
        self.forward: Callable[..., Any] = model
        self.role: Role = DOCUMENT
        self._lock = Lock()  # fast tokenizers keep their padding as state
        self.ahead = model.device.type != "cpu"

    def for_queries(self) -> JointEncoder:
        """The same network for queries, without a gate, which was fitted to documents.

        Few queries are long enough for it, and it was judged with queries that ran dense.
        """
        for_query = copy(self)  # with the same lock
        for_query.role, for_query.forward = QUERY, self.model
        return for_query

    @property
    def routes_roles(self) -> bool:
        """Whether queries and documents may go through different parts of the network."""
        from sentence_transformers.base.modules import Router

        return any(isinstance(module, Router) for module in self.model)

    def embed(self, modality: str, values: Sequence[Any], prompt: str) -> Embeddings:
        """Embed values of one modality; float32 unit rows [len(values), embed_dim].

        Raises:
            ModelError: the library cannot encode them, or the result is not finite.
        """
        return self.encode(modality, values, prompt).rows

    def encode(
        self, modality: str, values: Sequence[Any], prompt: str, *, counted: bool = False
    ) -> Encoded:
        """Like `embed`; if ``counted``, with what the gate did to texts."""
        inputs = self.inputs(modality, values)
        batches = [inputs[i : i + _BATCH] for i in range(0, len(inputs), _BATCH)]
        try:
            parts = list(self._run(batches, prompt, counted))
        # whatever a foreign network or processor may raise
        except Exception as error:
            raise ModelError(
                f"{self.name} cannot encode this {modality}: {first_line(error)}.",
                remedy="Check the content, or use another model.",
            ) from error
        vectors = np.concatenate([rows for rows, _ in parts])
        if not np.isfinite(vectors).all():
            raise ModelError(
                f"{self.name} returned values that are not finite.", remedy="Check its weights."
            )
        return Encoded(l2_normalize(vectors), TextStats.join([stats for _, stats in parts]))

    def features(self, inputs: Sequence[Any], prompt: str) -> dict[str, Any]:
        """What the network takes, on the CPU; texts beyond the model's window are cut."""
        # Frames are picked by the tower; the library would want to know their rate.
        options = {"video": {"do_sample_frames": False}}
        with self._lock if self._tokenizes(inputs) else nullcontext():
            features: dict[str, Any] = self.model.preprocess(
                list(inputs), prompt=prompt, task=self.role, processing_kwargs=options
            )
        return features

    def _tokenizes(self, inputs: Sequence[Any]) -> bool:
        """Whether the tokenizer reads these inputs: texts, or what is put into a text."""
        in_text = "message" in getattr(self.model[0], "modality_config", {})
        return in_text or any(isinstance(value, str) or "text" in value for value in inputs)

    def token_ids(self, text: str, *, marks: bool) -> list[int]:
        """All token ids of a text; nothing is cut."""
        from tokenizers import Tokenizer

        tokenizer = self.model.tokenizer
        with self._lock:
            if isinstance(tokenizer, Tokenizer):  # of a static model: no special tokens
                ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
            elif callable(tokenizer):
                ids = tokenizer(text, add_special_tokens=marks, verbose=False)["input_ids"]
            else:
                ids = tokenizer.tokenize(text)
        return ids

    def inputs(self, modality: str, values: Sequence[Any]) -> list[Any]:
        """Values as the library takes them."""
        # If a model takes pictures or sounds, the library would open a bare text that looks like an
        # address or a path. Labelled, a text stays a text. Some text models take bare ones only.
        bare = list(self.model.modalities) == ["text"]
        return list(values) if bare else [{modality: value} for value in values]

    def _run(
        self, batches: Sequence[Any], prompt: str, counted: bool
    ) -> Iterator[tuple[NDArray[np.float32], TextStats | None]]:
        import torch

        from encoder.runtime.torch import ahead, moved, threads

        make = partial(self.features, prompt=prompt)
        side_by_side = self.ahead and len(batches) > 1
        prepared = ahead(make, batches, _READERS) if side_by_side else map(make, batches)
        with threads(self._n_threads), torch.inference_mode():
            for features in prepared:
                if "is_longer" in features:
                    # CLAP's extractor marks a random item of each batch as long; the windows of
                    # the sound tower are never long.
                    features["is_longer"] = torch.zeros_like(features["is_longer"])
                on_device = moved(features, self.model.device)
                forward = self.forward
                if counted and isinstance(forward, MergingForward):
                    forward = forward.counted
                outputs = forward(on_device, task=self.role)
                yield outputs["sentence_embedding"].float().cpu().numpy(), outputs.get("stats")


class ImageTower:
    """Pictures, uint8 RGB [height, width, 3]."""

    def __init__(self, encoder: JointEncoder, prompt: str) -> None:
        self._encoder = encoder
        self._prompt = prompt

    def prepare(self, content: NDArray[np.uint8]) -> Prepared:
        """The picture: object [1]. The model's own processor resizes it in `forward`."""
        return objects([content])

    def forward(self, batch: Sequence[Prepared]) -> Encoded:
        """See `encoder.towers.base.Tower.forward`."""
        return Encoded(self._encoder.embed("image", [_picture(p[0]) for p in batch], self._prompt))


class SoundTower:
    """Sound, in windows that the model can take whole; their mean is the embedding.

    Args:
        encoder: takes sound.
        prompt: is put before each window, if the model takes one.
        window_s: the longest window. No part of a longer sound is dropped or picked at random.
    """

    def __init__(self, encoder: JointEncoder, prompt: str, window_s: float) -> None:
        self._encoder = encoder
        self._prompt = prompt
        self._window_s = window_s
        processor = encoder.model.processor
        self._rate = int(getattr(processor, "feature_extractor", processor).sampling_rate)

    def prepare(self, content: Waveform | Spectrogram) -> Prepared:
        """Windows at the model's rate: object [n_windows] of float32 [n_samples].

        Raises:
            InputError: a spectrogram came; these models take samples.
        """
        windows = sound_windows(self._encoder.name, content, self._rate, self._window_s)
        return objects(windows)

    def forward(self, batch: Sequence[Prepared]) -> Encoded:
        """See `encoder.towers.base.Tower.forward`."""
        windows = [{"array": window, "sampling_rate": self._rate} for p in batch for window in p]
        rows = self._encoder.embed("audio", windows, self._prompt)
        return Encoded(mean_of_windows(rows, batch))


class VideoTower:
    """Videos: the frames together as one input, pooled with the sound track as another.

    Args:
        encoder: takes video.
        prompt: is put before each video, if the model takes one.
        max_frames: the most frames, evenly spread.
        sound: for the sound track; None leaves it out.
    """

    def __init__(
        self, encoder: JointEncoder, prompt: str, max_frames: int, sound: SoundTower | None
    ) -> None:
        self._encoder = encoder
        self._prompt = prompt
        self._max_frames = max_frames
        self._sound = sound

    def prepare(self, content: Clip | Path) -> Prepared:
        """Frames, then windows of sound: object [n_frames + n_windows]."""
        parts: list[Any] = []
        for item in video.parts(content, self._max_frames):
            if not isinstance(item.content, Waveform):
                parts.append(item.content)
            elif self._sound:
                parts.extend(self._sound.prepare(item.content))
        return objects(parts)

    def forward(self, batch: Sequence[Prepared]) -> Encoded:
        """See `encoder.towers.base.Tower.forward`."""
        # One at a time: the frames of a video are a batch by themselves.
        return Encoded(np.stack([self._embed(prepared) for prepared in batch]))

    def _embed(self, prepared: Prepared) -> Embeddings:
        frames = [_picture(array) for array in prepared if array.ndim == 3]
        windows = objects([array for array in prepared if array.ndim == 1])
        rows_of_frames = self._encoder.embed("video", [frames], self._prompt)
        rows_of_sound = (
            self._sound.forward([windows]).rows
            if self._sound and len(windows)
            else rows_of_frames[:0]
        )
        return video.pool(rows_of_frames, rows_of_sound)


def first_line(error: Exception) -> str:
    """The first line of a library's error, fit for the middle of a sentence."""
    return str(error).strip().partition("\n")[0].rstrip(".")


def _picture(pixels: NDArray[np.uint8]) -> Image:
    from PIL import Image

    # An array three rows high would be read as channels first.
    return Image.fromarray(pixels)

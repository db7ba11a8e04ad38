"""Towers over one sentence-transformers model that embeds every modality it takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from copy import copy
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encoder.errors import ModelError
from encoder.runtime.torch import ahead, moved, threads
from encoder.space import l2_normalize
from encoder.towers.base import Encoded, Prepared, TextStats
from encoder.towers.joint import JointImageTower, JointSoundTower, JointVideoTower
from encoder.towers.tokens import cut_text, pool, text_of
from encoder.types import AUDIO, DOCUMENT, IMAGE, QUERY, VIDEO, Embeddings, Role

if TYPE_CHECKING:
    from PIL.Image import Image
    from sentence_transformers import SentenceTransformer

_BATCH = 32
_READERS = 4
"""Threads that prepare batches for a GPU."""


class JointEncoder:
    """A loaded sentence-transformers model. Safe to use from several threads.

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
        """The rows of `encode`."""
        return self.encode(modality, values, prompt).rows

    def encode(self, modality: str, values: Sequence[Any], prompt: str) -> Encoded:
        """Embed values of one modality; float32 unit rows [len(values), embed_dim].

        Raises:
            ModelError: the library cannot encode them, or the result is not finite.
        """
        inputs = self.inputs(modality, values)
        batches = [inputs[i : i + _BATCH] for i in range(0, len(inputs), _BATCH)]
        try:
            parts = list(self._run(batches, prompt))
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
        self, batches: Sequence[Any], prompt: str
    ) -> Iterator[tuple[NDArray[np.float32], TextStats | None]]:
        import torch

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
                outputs = self.forward(on_device, task=self.role)
                yield outputs["sentence_embedding"].float().cpu().numpy(), outputs.get("stats")


def image_tower(encoder: JointEncoder, prompt: str) -> JointImageTower:
    """Images, resized by the model's own processor when they are embedded."""
    return JointImageTower(_read_image, partial(encoder.embed, IMAGE, prompt=prompt))


def sound_tower(encoder: JointEncoder, prompt: str, window_s: float) -> JointSoundTower:
    """Sounds, in windows of at most ``window_s``; the prompt is put before each."""
    processor = encoder.model.processor
    rate = int(getattr(processor, "feature_extractor", processor).sampling_rate)

    def read(window: NDArray[np.float32]) -> dict[str, Any]:
        return {"array": window, "sampling_rate": rate}

    return JointSoundTower(read, partial(encoder.embed, AUDIO, prompt=prompt), rate, window_s)


def video_tower(
    encoder: JointEncoder, prompt: str, max_frames: int, sound: JointSoundTower | None
) -> JointVideoTower:
    """Films, of at most ``max_frames``, with their sound track."""
    embed = partial(encoder.embed, VIDEO, prompt=prompt)
    return JointVideoTower(_images, embed, max_frames, sound)


def first_line(error: Exception) -> str:
    """The first line of a library's error, fit for the middle of a sentence."""
    return str(error).strip().partition("\n")[0].rstrip(".")


def _images(frames: Sequence[NDArray[np.uint8]]) -> list[Image]:
    from PIL import Image

    # An array three rows high would be read as channels first.
    return [Image.fromarray(pixels) for pixels in frames]


def _read_image(images: Sequence[NDArray[np.uint8]]) -> Image:
    return _images(images)[0]


_CHARS_PER_TOKEN = 4


class JointTextTower:
    """Texts; those longer than the model's context are encoded in windows, see `pool`.

    The prompt is put before each text, and before each of its windows.
    """

    def __init__(self, encoder: JointEncoder, prompt: str) -> None:
        self._encoder = encoder
        self._prompt = prompt
        self._placeholders = placeholders_of(getattr(encoder.model, "processor", None))
        self._n_marks = self._count_marks()
        self._most = float(encoder.model.max_seq_length or math.inf)

    def prepare(self, content: str) -> Prepared:
        """The text in pieces of about a token each: object [n_pieces] of str."""
        # "<|image|>" in a text would ask the model for a picture that is not there.
        for token in self._placeholders:
            content = content.replace(token, f"{token[0]} {token[1:]}")
        starts = range(0, max(len(content), 1), _CHARS_PER_TOKEN)
        return np.array([content[i : i + _CHARS_PER_TOKEN] for i in starts], dtype=object)

    def window_lengths(self, content: str) -> list[int]:
        return [length for _, length in self._windows(self.prepare(content))]

    def text_of(self, ids: Sequence[int]) -> str:
        decode = partial(self._encoder.model.tokenizer.decode, skip_special_tokens=True)
        return text_of(ids, partial(self._encoder.token_ids, marks=True), decode)

    def forward(self, batch: Sequence[Prepared]) -> Encoded:
        documents = [self._windows(prepared) for prepared in batch]
        flat = [text for windows in documents for text, _ in windows]
        encoded = self._encoder.encode("text", flat, self._prompt)
        ends = np.cumsum([len(windows) for windows in documents])
        stats = encoded.stats.summed([0, *ends[:-1]]) if encoded.stats else None
        per_document = zip(np.split(encoded.rows, ends[:-1]), documents, strict=True)
        rows = [pool(some, [length for _, length in windows]) for some, windows in per_document]
        return Encoded(np.stack(rows), stats)

    def _windows(self, prepared: Prepared) -> list[tuple[str, int]]:
        def count(text: str) -> int:
            ids = self._encoder.token_ids(self._prompt + text, marks=False)
            return len(ids) + self._n_marks

        return cut_text("".join(prepared), count, self._most)

    def _count_marks(self) -> int:
        """The tokens that the model's tokenizer or template puts around a text."""
        encoder = self._encoder
        features = encoder.features(encoder.inputs("text", ["a"]), self._prompt)
        mask: Any = features.get("attention_mask")
        whole = 0 if mask is None else int(mask.sum())
        bare = len(encoder.token_ids(self._prompt + "a", marks=False))
        # SigLIP's processor pads to the whole context and returns no mask.
        return max(whole - bare, len(encoder.token_ids("", marks=True)))


def placeholders_of(processor: Any) -> list[str]:
    """Tokens that stand for media, which must stay text where they occur in one."""
    names = ("image_token", "video_token", "audio_token")
    tokens = [getattr(processor, name, None) for name in names]
    return [token for token in tokens if isinstance(token, str)]

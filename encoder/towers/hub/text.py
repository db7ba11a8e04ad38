"""The text tower of a sentence-transformers model: texts of any length, in windows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from encoder.towers.base import Prepared
from encoder.towers.encoded import Encoded
from encoder.towers.hub.tower import JointEncoder
from encoder.towers.text.tokens import text_of
from encoder.towers.text.windows import cut_text, pool

_CHARS_PER_TOKEN = 4


class JointTextTower:
    """Texts; those longer than the model's context are encoded in windows, see `pool`.

    Args:
        encoder: takes text.
        prompt: is put before each text, and before each of its windows.
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
        return self._encode(batch, counted=False)

    def forward_counted(self, batch: Sequence[Prepared]) -> Encoded:
        return self._encode(batch, counted=True)

    def _encode(self, batch: Sequence[Prepared], *, counted: bool) -> Encoded:
        documents = [self._windows(prepared) for prepared in batch]
        flat = [text for windows in documents for text, _ in windows]
        encoded = self._encoder.encode("text", flat, self._prompt, counted=counted)
        ends = np.cumsum([len(windows) for windows in documents])
        stats = encoded.stats.summed([0, *ends[:-1]]) if encoded.stats else None
        per_document = zip(np.split(encoded.rows, ends[:-1]), documents, strict=True)
        rows = [
            pool(rows_of_text, [length for _, length in windows])
            for rows_of_text, windows in per_document
        ]
        return Encoded(np.stack(rows), stats)

    def _windows(self, prepared: Prepared) -> list[tuple[str, int]]:
        return cut_text("".join(prepared), self._count, self._most)

    def _count(self, text: str) -> int:
        return len(self._encoder.token_ids(self._prompt + text, marks=False)) + self._n_marks

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

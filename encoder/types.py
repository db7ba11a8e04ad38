"""The values that travel through the encoder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from encoder.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Embeddings: TypeAlias = "NDArray[np.float32]"
"""Rows of unit length in the shared space, float32, [n, embed_dim]."""

RgbPicture: TypeAlias = "NDArray[np.uint8]"
"""A picture in memory, RGB [height, width, 3]."""


# Compiled only once, since a search makes a hundred modalities.
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


class Modality(str):
    """The kind of a piece of content: lower-case letters, digits and ``_``.

    A string, so that a plug-in can add one without a change here.

    >>> Modality("depth_map")
    'depth_map'
    """

    __slots__ = ()

    def __new__(cls, name: str) -> Modality:
        if not _NAME.fullmatch(name):
            raise InputError(
                "modality", got=repr(name), wanted="a name such as 'text' (a-z, 0-9, _; 32 at most)"
            )
        return super().__new__(cls, name)


TEXT = Modality("text")
IMAGE = Modality("image")
AUDIO = Modality("audio")
VIDEO = Modality("video")

Role: TypeAlias = Literal["query", "document"]
"""The role of content: many models put different prompts before queries and documents."""

QUERY: Role = "query"
DOCUMENT: Role = "document"


@dataclass(frozen=True, eq=False)
class Waveform:
    """Mono sound: float32 samples in [-1, 1], shape [n_samples], and their rate in Hz."""

    samples: NDArray[np.float32]
    sampling_rate: int

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.sampling_rate


class Utterance(NamedTuple):
    """Something said, and when, in seconds.

    Attributes:
        start_s: when it begins.
        end_s: when it ends.
        text: the words.
        confidence: how sure the words are, from 0 to 1.
        language: the language spoken, as two letters of ISO 639-1 (a few have three); empty if
            that is not known.
    """

    start_s: float
    end_s: float
    text: str
    confidence: float = 1.0
    language: str = ""

    def moved(self, by_s: float) -> Utterance:
        """The same, moved to a later time.

        >>> Utterance(1.0, 2.0, "oui", 0.9, "fr").moved(60.0)
        Utterance(start_s=61.0, end_s=62.0, text='oui', confidence=0.9, language='fr')
        """
        return self._replace(start_s=self.start_s + by_s, end_s=self.end_s + by_s)


class ReadText(NamedTuple):
    """A line of text in a picture.

    ``box`` has its corners in pixels, (x, y) each, clockwise from the top of its first letter;
    ``confidence`` is from 0 to 1.
    """

    text: str
    box: tuple[tuple[float, float], ...]
    confidence: float


@dataclass(frozen=True, eq=False)
class Clip:
    """A video in memory: frames uint8 [n, height, width, 3] and its sound track, if any."""

    frames: NDArray[np.uint8]
    sound: Waveform | None = None


@dataclass(frozen=True, eq=False)
class Item:
    """One piece of content to encode.

    ``content`` is, by modality: text ``str``; image uint8 RGB ``[height, width, 3]``;
    audio `Waveform`; video `Clip`; otherwise what the plug-in's tower takes.
    ``role`` is "document" by default, since what is stored is one.

    Raises:
        InputError: the role is neither "query" nor "document".
    """

    modality: Modality
    content: Any
    role: Role = DOCUMENT

    def __post_init__(self) -> None:
        if self.role not in (DOCUMENT, QUERY):
            raise InputError("role", got=repr(self.role), wanted="'query' or 'document'")

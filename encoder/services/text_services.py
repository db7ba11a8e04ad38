"""What gives text beside a model's towers: pictures are read, speech is written down."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from encoder.errors import ModelError
from encoder.services.reader import LazyReader
from encoder.services.speech import Speech
from encoder.types import (
    AUDIO,
    IMAGE,
    TEXT,
    Modality,
    ReadText,
    RgbPicture,
    Utterance,
    Waveform,
)

_BUNDLE = "bundle:multilingual"
_INSTALL = f"Fetch {_BUNDLE}: `anymodal bundle fetch`."


@dataclass(frozen=True)
class TextServices:
    """Services of the library, the same for every model; their weights load on first use.

    Args:
        reader: reads the text in pictures; None if none is installed, or it is off.
        speech: writes down what is said, likewise.
        off: the modalities in which they are off.
    """

    reader: LazyReader | None = None
    speech: Speech | None = None
    off: frozenset[Modality] = frozenset()

    def chosen(self, *, read: bool, hear: bool) -> TextServices:
        """The same with those that are not wanted switched off."""
        off = {IMAGE: read, AUDIO: hear}
        return replace(
            self,
            reader=self.reader if read else None,
            speech=self.speech if hear else None,
            off=self.off | {modality for modality, is_on in off.items() if not is_on},
        )

    def read(self, picture: RgbPicture) -> list[ReadText]:
        """The text in a picture, line by line in reading order; empty where there is none.

        Letters must be about ten pixels high: `encoder.media.image.load_image` scales a picture
        down to ``short_side``. Raises a ModelError if there is no reader.
        """
        if self.reader is None:
            raise ModelError("There is no reader of text in pictures.", remedy=_INSTALL)
        return self.reader.read(picture)

    def transcribe(self, sound: Waveform) -> list[Utterance]:
        """See `Speech.transcribe`; raises a ModelError if nothing recognises speech."""
        if self.speech is None:
            raise ModelError("There is no recognition of speech.", remedy=_INSTALL)
        return self.speech.transcribe(sound)

    def limits(self, towers: Collection[Modality]) -> dict[Modality, str]:
        """What a model with these towers cannot find, in a sentence for each kind of segment.

        What was switched off is missing only where there is no tower either.
        """
        has_text = TEXT in towers
        limits = {} if has_text else {TEXT: f"texts are not stored: {_no_tower(TEXT)}"}
        for modality, things, words, service in (
            (IMAGE, "pictures", "the text in", self.reader),
            (AUDIO, "sounds", "what is said in", self.speech),
        ):
            is_off = modality in self.off
            missing = "it is switched off" if is_off else f"that comes with {_BUNDLE}"
            lack = (missing if not service else "") if has_text else _no_tower(TEXT)
            if modality not in towers:
                how = (
                    f"not stored, nor {words} them ({lack})"
                    if lack
                    else f"found only by {words} them"
                )
                limits[modality] = f"{things} are {how}: {_no_tower(modality)}"
            elif lack and not is_off:
                limits[modality] = f"{words} {things} is not stored: {lack}"
        return limits


def _no_tower(modality: Modality) -> str:
    return f"the model has no {modality} tower"

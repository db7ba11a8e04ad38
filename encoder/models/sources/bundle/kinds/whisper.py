"""Speech by a Whisper model (Radford et al. 2022) in CTranslate2's form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from encoder.models.sources.bundle.kinds.base import Kind, Opening

if TYPE_CHECKING:
    from encoder.towers.sound.speech import Speech


def _open(opening: Opening) -> Speech:
    from encoder.towers.sound.speech import Speech

    # A second thread makes the tiny model no faster (135 ms a sentence, and 152 with two), and the
    # sound network needs that core at the same time.
    return Speech(opening.folder, n_threads=1)


KIND = Kind(open=_open)

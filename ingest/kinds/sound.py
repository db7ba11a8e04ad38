"""Sound: windows of a few seconds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from encoder.media.container import StreamFacts, probe
from encoder.media.formats import CONTAINER_TYPES, CONTAINERS, marked_container
from encoder.media.sound import SAMPLING_RATE, stream_sound
from encoder.types import AUDIO, Waveform
from ingest.config import IngestConfig, check
from ingest.kinds.contract import Cost, Kind
from ingest.kinds.head import Head, Match
from ingest.split import split_sound
from ingest.types import Asset, Fact, Segment

_SOUND_ONLY = "audio/wav"
"""The one container that never holds pictures."""


class Sound(Kind):
    """Recordings and songs, whose cover picture does not count."""

    name = "audio"
    label = "Sound"
    icon = "M4.5 12a7.5 7.5 0 1 0 15 0 7.5 7.5 0 1 0-15 0z"
    modality = AUDIO
    formats = (
        *dict.fromkeys(
            container.name for container in CONTAINERS if container.media_type[0] == "a"
        ),
        "Opus",
        "M4A",
    )
    media_types = frozenset(f"audio/{name.partition('/')[2]}" for name in CONTAINER_TYPES)
    suffixes = (
        *(".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus"),
        *(".aac", ".m4a", ".m4b", ".aif", ".aiff", ".wma", ".amr", ".ac3", ".ape", ".wv", ".caf"),
        *(".au", ".tta", ".mpc", ".tak", ".dsf", ".dff", ".spx", ".w64", ".eac3"),
    )
    cost: ClassVar[Cost] = "audio"
    max_bytes = "max_media_bytes"

    def sniff(self, head: Head) -> Match | None:
        """By the container's magic number; a container of films can hold only sound."""
        media_type = "" if head.is_text else marked_container(head.data)
        if not media_type:
            return None
        # A film is the better guess, which its header confirms.
        confidence = 0.902 if media_type == _SOUND_ONLY else 0.9
        return Match(f"audio/{media_type.partition('/')[2]}", confidence)

    def describe(self, path: Path, media_type: str, config: IngestConfig) -> Mapping[str, Fact]:  # noqa: ARG002
        """Title (as tagged, else the file's stem) and duration_s."""
        facts = probe(path)
        check_container(str(path), facts, config)
        return container_metadata(facts, path)

    def segments(self, asset: Asset, path: Path, config: IngestConfig) -> Iterator[Segment]:
        """Windows of mono sound at 44.1 kHz, with their seconds."""
        return sound_segments(asset, path, config)

    def whole(self, segments: Sequence[Segment], max_frames: int = 16) -> Waveform:  # noqa: ARG002
        """The windows, joined."""
        return joined_sound(segments)


def joined_sound(segments: Sequence[Segment]) -> Waveform:
    """Windows of sound, joined into one."""
    samples = np.concatenate([segment.content.samples for segment in segments])
    return Waveform(samples, segments[0].content.sampling_rate)


def sound_segments(
    asset: Asset, path: Path, config: IngestConfig, offset_s: float = 0.0
) -> Iterator[Segment]:
    """The windows of the first sound track, which starts at ``offset_s``."""
    window, tail = (round(s * SAMPLING_RATE) for s in (config.audio_window_s, config.audio_tail_s))
    windows = split_sound(stream_sound(path), window, tail)
    for index, (first, samples) in enumerate(windows):
        start_s = offset_s + first / SAMPLING_RATE
        end_s = start_s + len(samples) / SAMPLING_RATE
        # The header may understate the length, so count the samples.
        check(str(path), "max_duration_s", end_s, config)
        sound = Waveform(samples, SAMPLING_RATE)
        yield Segment(asset.asset_id, AUDIO, index, sound, start_s=start_s, end_s=end_s)


def check_container(uri: str, facts: StreamFacts, config: IngestConfig) -> None:
    """Check a header's duration and number of streams against the limits."""
    check(uri, "max_duration_s", facts.duration_s or 0.0, config)
    check(uri, "max_streams", facts.n_streams, config)


def container_metadata(facts: StreamFacts, path: Path) -> dict[str, Fact]:
    """Title, and duration_s if the header has it."""
    metadata: dict[str, Fact] = {"title": facts.title or path.stem}
    if facts.duration_s:
        metadata["duration_s"] = round(facts.duration_s, 3)
    return metadata

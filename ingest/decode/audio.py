"""Sound: windows of a few seconds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from encoder.media.container import StreamFacts, probe
from encoder.media.sound import SAMPLING_RATE, stream_sound
from encoder.types import AUDIO, Waveform
from ingest.config import IngestConfig
from ingest.limits import check
from ingest.split import split_sound
from ingest.types import Asset, Fact, Segment


def describe(path: Path, media_type: str, config: IngestConfig) -> Mapping[str, Fact]:  # noqa: ARG001
    """Title (as tagged, else the file's stem) and duration_s."""
    facts = probe(path)
    check_container(str(path), facts, config)
    return container_metadata(facts, path)


def segments(asset: Asset, path: Path, config: IngestConfig) -> Iterator[Segment]:
    """Windows of mono sound at 44.1 kHz, with their seconds."""
    return sound_segments(asset, path, config)


def sound_segments(
    asset: Asset, path: Path, config: IngestConfig, offset_s: float = 0.0
) -> Iterator[Segment]:
    """The windows of the first sound track, which starts at ``offset_s``."""
    window, tail = (round(s * SAMPLING_RATE) for s in (config.audio_window_s, config.audio_tail_s))
    windows = split_sound(stream_sound(path), window, tail)
    for index, (first, samples) in enumerate(windows):
        start_s = offset_s + first / SAMPLING_RATE
        end_s = start_s + len(samples) / SAMPLING_RATE
        # The header may understate the length, so look at what really comes.
        check(str(path), "max_duration_s", end_s, config)
        sound = Waveform(samples, SAMPLING_RATE)
        yield Segment(asset.asset_id, AUDIO, index, sound, start_s=start_s, end_s=end_s)


def check_container(uri: str, facts: StreamFacts, config: IngestConfig) -> None:
    """Hold a header's duration and number of streams against the limits."""
    check(uri, "max_duration_s", facts.duration_s or 0.0, config)
    check(uri, "max_streams", facts.n_streams, config)


def container_metadata(facts: StreamFacts, path: Path) -> dict[str, Fact]:
    """Title, and duration_s where the header tells it."""
    metadata: dict[str, Fact] = {"title": facts.title or path.stem}
    if facts.duration_s:
        metadata["duration_s"] = round(facts.duration_s, 3)
    return metadata

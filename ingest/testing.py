"""Tests of the contract, for authors of kinds: ours pass them too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

from encoder.errors import MediaError
from ingest.config import IngestConfig
from ingest.isolate import wire
from ingest.kinds.contract import Kind, Place
from ingest.kinds.head import HEAD_BYTES
from ingest.kinds.registry import kind_of, kinds, sniff
from ingest.pipeline import picture, segments
from ingest.sources.identity import identify
from ingest.types import Segment

_N_DAMAGED = 40


def check_kind(name: str, samples: Sequence[Path], scratch: Path) -> None:
    """Check a registered kind against files that it must read, as the workers would read them.

    Args:
        name: of the kind.
        samples: at least one file, small ones.
        scratch: an empty folder for damaged copies.

    Raises:
        AssertionError: says what does not hold.
    """
    (kind,) = (kind for kind in kinds() if kind.name == name)
    for sample in samples:
        _check_reading(kind, sample)
        _check_damage(sample, scratch / f"damaged{sample.suffix}")


def _check_reading(kind: Kind, sample: Path) -> None:
    names = [candidate.kind.name for candidate in sniff(sample.read_bytes()[:HEAD_BYTES], "x")]
    assert kind.name in names, f"{sample} is detected as {names[0]}, whatever its name."
    config = IngestConfig()
    asset = identify(sample, config)
    assert kind_of(asset.media_type) is kind, f"{asset.media_type} is not in media_types."
    assert asset.modality == kind.modality
    assert asset.metadata.get("title"), "describe() returns no title."
    read_segments = list(segments(asset, config))
    _check_segments(read_segments)
    assert list(map(_facts, read_segments)) == [
        _facts(segment) for segment in segments(asset, config.model_copy(update={"isolate": True}))
    ], "A decoder process reads something else."
    kind.whole(read_segments)
    if kind.shows:
        preview = picture(asset, Place(), config).content
        assert preview.dtype == "uint8", f"preview() returns {preview.dtype}, not uint8."
        assert preview.ndim == 3, f"preview() returns the shape {preview.shape}."
        assert preview.shape[2] == 3, f"preview() returns the shape {preview.shape}."


def _check_segments(read_segments: Sequence[Segment]) -> None:
    assert read_segments, "segments() yields nothing: raise UnsupportedMediaError instead."
    for modality in {segment.modality for segment in read_segments}:
        of_modality = [segment for segment in read_segments if segment.modality == modality]
        assert [segment.index for segment in of_modality] == list(range(len(of_modality))), (
            "index must count."
        )
        starts = [segment.start_s or 0.0 for segment in of_modality]
        assert starts == sorted(starts), "Segments must come in order of time."
    for segment in read_segments:
        sent = wire.segment_from_message(wire.segment_to_message(segment), segment.asset_id)
        assert _facts(sent) == _facts(segment), (
            f"{segment} does not survive the transfer to a worker."
        )


def _facts(segment: Segment) -> tuple[object, ...]:
    message = wire.segment_to_message(segment)
    return (*sorted(message.head["segment"].items(), key=str), bytes(message.payload))


def _check_damage(sample: Path, copy: Path) -> None:
    """Cut and flipped files: each is read or refused, and nothing else happens."""
    whole, random = sample.read_bytes(), Random(0)
    config = IngestConfig(isolate=True, max_decode_s=20)
    for n in range(_N_DAMAGED):
        data = bytearray(whole[: random.randrange(1, len(whole) + 1)] if n % 2 else whole)
        for _ in range(n % 5):
            data[random.randrange(len(data))] = random.randrange(256)
        copy.write_bytes(data)
        try:
            list(segments(identify(copy, config), config))
        except MediaError as error:
            if not error.remedy:
                raise AssertionError(f"{error!r} has no remedy.") from error

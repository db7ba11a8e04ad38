"""Transcripts in OpenAI's shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from encoder.types import Utterance
from search.api.vendors.compatible import Compatible

TranscriptFormat = Literal["json", "text", "srt", "vtt", "verbose_json"]


class TranscriptionRequest(Compatible):
    """The fields of the form beside `file`."""

    model: str = Field(max_length=1000, description="A model from `/v1/models`, or `whisper-1`.")
    response_format: TranscriptFormat = "json"
    granularity: Literal["segment"] = Field("segment", alias="timestamp_granularities[]")
    stream: Literal["false"] = "false"


class SegmentOut(BaseModel):
    """A sentence, and when it is said."""

    id: int
    start: float
    end: float
    text: str
    confidence: float = Field(description="The approximate share of words that is right.")
    language: str


class TranscriptAnswer(BaseModel):
    """As OpenAI's; all fields but `text` are those of `verbose_json`."""

    model_config = ConfigDict(json_schema_extra={"required": ["text"]})

    text: str
    task: Literal["transcribe"] | None = None
    language: str | None = Field(
        default=None, description="In which most is said; null without speech."
    )
    duration: float | None = Field(default=None, description="Of the sound, in seconds.")
    segments: list[SegmentOut] | None = None


def written(
    sentences: Sequence[Utterance], duration_s: float, form: TranscriptFormat
) -> tuple[bytes, str]:
    """What was said as the body of an answer, and its media type.

    >>> said = [Utterance(0.5, 2.25, "Good morning.", 0.9, "en")]
    >>> print(written(said, 3.0, "srt")[0].decode())
    1
    00:00:00,500 --> 00:00:02,250
    Good morning.
    <BLANKLINE>
    """
    text = " ".join(sentence.text for sentence in sentences)
    if form == "text":
        return f"{text}\n".encode(), "text/plain"
    if form == "srt":
        cues = (f"{n}\n{_cue(said, ',')}" for n, said in enumerate(sentences, 1))
        return "\n".join(cues).encode(), "application/x-subrip"
    if form == "vtt":
        return "\n".join(
            ["WEBVTT\n", *(_cue(said, ".") for said in sentences)]
        ).encode(), "text/vtt"
    if form == "json":
        answer = TranscriptAnswer(text=text)
        return answer.model_dump_json(exclude_unset=True).encode(), "application/json"
    answer = TranscriptAnswer(
        text=text,
        task="transcribe",
        language=_language(sentences),
        duration=round(duration_s, 3),
        segments=[_segment(n, said) for n, said in enumerate(sentences)],
    )
    return answer.model_dump_json().encode(), "application/json"


def _segment(number: int, said: Utterance) -> SegmentOut:
    facts: dict[str, Any] = {"confidence": round(said.confidence, 3), "language": said.language}
    return SegmentOut(id=number, start=said.start_s, end=said.end_s, text=said.text, **facts)


def _language(sentences: Sequence[Utterance]) -> str | None:
    spoken_s: dict[str, float] = {}
    for said in sentences:
        spoken_s[said.language] = spoken_s.get(said.language, 0.0) + said.end_s - said.start_s
    return max(spoken_s, key=lambda language: spoken_s[language], default=None)


def _cue(said: Utterance, point: str) -> str:
    return f"{_clock(said.start_s, point)} --> {_clock(said.end_s, point)}\n{said.text}\n"


def _clock(at_s: float, point: str) -> str:
    minutes, ms = divmod(round(at_s * 1000), 60_000)
    seconds, ms = divmod(ms, 1000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}{point}{ms:03d}"

"""A spoken question as the body of a request, recognised while it arrives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

from fastapi import Request

from encoder.errors import InputError
from encoder.media.sound import resample
from encoder.services.speech import speech_spans
from encoder.types import AUDIO
from search.api.errors import TooLargeError
from search.api.ports import Decoder
from search.api.requests.bodies import Form
from search.api.services import Services, disconnected
from search.listening import (
    CHUNK_BYTES,
    RATE,
    Listener,
    PcmReader,
    Said,
    Samples,
    Transcribe,
)

SPEECH = "speech"
"""The kind of such a query, in addition to those of `search.api.routers.search.kind_of`."""

_PAUSE_S = 0.8
_RAW = "audio/pcm"
_WAV = ("audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave")


@dataclass(frozen=True)
class Heard:
    """What was said.

    Args:
        said: span by span.
        waited_s: how long recognition went on after the last byte.
    """

    said: Sequence[Said]
    waited_s: float

    def asked(self, request: Request) -> Form:
        """The search for these words, with a form's other fields from the URL's query string."""
        fields = {name: request.query_params.getlist(name) for name in request.query_params}
        words = " ".join(utterance.text for utterance in self.said)
        return Form({**fields, "text": [words, *fields.get("text", [])]})

    def json(self) -> list[dict[str, Any]]:
        """As `search.api.schemas.SaidOut`."""
        spans = [utterance._asdict() for utterance in self.said]
        for span in spans:
            span["recognize_ms"] = round(span.pop("recognize_s") * 1000, 3)
            del span["ended"]
        return spans

    def after_speech_s(self) -> float:
        """How long ago the last words ended, as their sound arrived."""
        return perf_counter() - self.said[-1].ended


def sound_type(request: Request) -> str:
    """The type of a body that is sound; empty for others."""
    sent = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.url.path.endswith(SPOKEN):
        return sent or "application/octet-stream"
    return sent if sent.startswith("audio/") else ""


def is_partial(request: Request) -> bool:
    """Whether only the words so far are wanted, since somebody still speaks."""
    return request.query_params.get("partial") == "true"


SPOKEN = "/spoken"
"""The end of the path of what takes sound alone, of whatever type it says to be."""


async def hear(request: Request, services: Services) -> Heard:
    """Read the body, recognising each span of speech as soon as a pause ends it."""
    if services.transcribe is None:
        wanted = "JSON or a form: this server's model does not transcribe speech"
        raise InputError("body", got="sound", wanted=wanted)
    ear = _Ear(sound_type(request), services, services.transcribe)
    run, pending = services.workbench.run, bytearray()
    async for data in request.stream():
        pending += data
        if len(pending) >= CHUNK_BYTES:
            part, pending = bytes(pending), bytearray()
            await run(partial(_heard, ear, part))
    ended = perf_counter()
    await run(partial(_heard, ear, bytes(pending), is_last=True), lambda: disconnected(request))
    if not ear.said and not is_partial(request):
        wanted = "speech; to search by sound, send it in a form's field file"
        raise InputError("body", got="sound without recognisable words", wanted=wanted)
    return Heard(ear.said, perf_counter() - ended)


def _heard(ear: _Ear, data: bytes, _turn: object, *, is_last: bool = False) -> None:
    ear.add(data)
    if is_last:
        ear.end()


class _Ear:
    """Hears the sound of one body; one thread at a time."""

    def __init__(self, sent: str, services: Services, transcribe: Transcribe) -> None:
        self.said: list[Said] = []
        self._decoder: Decoder = services.decoder
        self._max_s, self._max_bytes = services.config.max_query_s, services.config.max_query_bytes
        self._pcm = PcmReader(raw=sent == _RAW) if sent in (_RAW, *_WAV) else None
        self._kept = bytearray()
        self._listener = Listener(speech_spans, transcribe, _PAUSE_S)
        self._n_samples = 0

    def add(self, data: bytes) -> None:
        if self._pcm is None:
            self._keep(data)
            return
        try:
            self._take(self._pcm.add(data))
        except InputError:  # sound that cannot be recognised as it arrives
            whole, self._pcm = self._pcm.rest, None
            self._keep(whole)

    def end(self) -> None:
        if self._kept:
            sound = self._decoder.decode(AUDIO, bytes(self._kept), "body").content
            self._take(resample(sound, RATE))
        self.said += self._listener.end()

    def _keep(self, data: bytes) -> None:
        self._kept += data
        if len(self._kept) > self._max_bytes:
            raise TooLargeError(
                f"The sound is larger than {self._max_bytes:,} bytes.", "Send a shorter question."
            )

    def _take(self, samples: Samples) -> None:
        self._n_samples += len(samples)
        if self._n_samples > self._max_s * RATE:
            raise TooLargeError(
                f"The sound is longer than {self._max_s:g} s.", "Send a shorter question."
            )
        self.said += self._listener.add(samples)

"""What the demo asks, and what a person would expect to find."""

from __future__ import annotations

from dataclasses import dataclass

from encoder.types import AUDIO, IMAGE, TEXT, Modality


@dataclass(frozen=True)
class DemoQuery:
    """One search of the demo.

    Args:
        title: what it shows.
        text, image, audio: what to search with; files are relative to the samples folder.
        modalities: the kinds of segment wanted; empty for all.
        expect: the name of the file that should be found.
        at_s: for a film, the seconds between which the moment lies.
    """

    title: str
    expect: str
    text: str | None = None
    image: str | None = None
    audio: str | None = None
    modalities: tuple[Modality, ...] = ()
    at_s: tuple[float, float] | None = None


QUERIES = [
    DemoQuery(
        "A sentence finds a picture: “a small furry pet with whiskers”",
        text="a small furry pet with whiskers",
        modalities=(IMAGE,),
        expect="cat.png",
    ),
    DemoQuery(
        "A sentence finds a picture: “a hot drink in a cup”",
        text="a hot drink in a cup",
        modalities=(IMAGE,),
        expect="coffee.png",
    ),
    DemoQuery(
        "A sentence finds a sound: “an alarm is beeping”",
        text="an alarm is beeping",
        modalities=(AUDIO,),
        expect="alarm-clock.ogg",
    ),
    DemoQuery(
        "A picture finds a text: wall-clock.png",
        image="wall-clock.png",
        modalities=(TEXT,),
        expect="clocks.html",
    ),
    DemoQuery(
        "A picture finds a sound: wall-clock.png",
        image="wall-clock.png",
        modalities=(AUDIO,),
        expect="clock-ticking.flac",
    ),
    DemoQuery(
        "A sound finds a picture: alarm-clock.ogg",
        audio="alarm-clock.ogg",
        modalities=(IMAGE,),
        expect="wall-clock.png",
    ),
    DemoQuery(
        "A spoken question finds the moment in the film: “When does the rocket fly into space?”",
        audio="../queries/question.wav",
        expect="film.mp4",
        at_s=(7.0, 14.0),
    ),
    DemoQuery(
        "A sentence finds the moment in the film: “a burning candle”",
        text="a burning candle",
        expect="film.mp4",
        at_s=(14.0, 21.0),
    ),
]

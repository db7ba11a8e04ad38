"""``anymodal listen``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workers.cli.options import apply_options, json_option, model_option, store_option
from workers.cli.search import search

if TYPE_CHECKING:
    from search import SearchEngine
    from search.listening.questions import Samples
    from workers.serving.resources import Resources

_FROM_SEARCH = {"store", "model", "as_json"}


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("source", metavar="FILE|-")
@click.argument("options", metavar="[SEARCH OPTIONS]", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "--pause",
    "pause_s",
    type=click.FloatRange(0.5, 10.0),
    default=0.8,
    show_default=True,
    metavar="SECONDS",
    help="The silence that ends a question.",
)
@store_option
@model_option
@json_option
def listen(
    source: str,
    options: tuple[str, ...],
    pause_s: float,
    store: str | None,
    model: str | None,
    as_json: bool,
) -> None:
    """Search for what is said in a recording, or in live sound from standard input (-).

    \b
    arecord -q -t raw -f S16_LE -r 16000 -c 1 | anymodal listen -
    anymodal listen question.wav --limit 3 --modality image

    Live sound is signed 16-bit, mono, 16,000 Hz, raw or as WAV. Other options are those of
    `anymodal search`.
    """
    apply_options(store, model=model)
    _asked(options, "")  # report mistakes before loading the model
    from encoder.towers.sound.speech import speech_spans
    from encoder.types import QUERY
    from search.listening.assistant import answer
    from search.listening.questions import questions
    from workers.config import current_settings
    from workers.serving.resources import Resources

    with ExitStack() as stack:
        held = stack.enter_context(closing(Resources(current_settings())))
        find = partial(_found, options, held, cache(partial(_engine, stack, held)))
        show = _printer(as_json)
        for spoken in questions(_sound(source), partial(speech_spans, pause_s=pause_s)):
            transcribe = partial(held.encoder().transcribe, role=QUERY)
            if result := answer(spoken, transcribe, find):
                show(result)


def _sound(source: str) -> Iterator[Samples]:
    from search.listening.pcm import pcm_chunks
    from search.listening.questions import RATE, chunks

    if source == "-":
        return pcm_chunks(sys.stdin.buffer)
    from encoder.media.sound import load_sound
    from encoder.towers.sound.logmel import resample

    return chunks(resample(load_sound(Path(source).expanduser()), RATE))


def _asked(options: tuple[str, ...], said: str) -> dict[str, Any]:
    params = search.make_context("listen", [*options, "--", said]).params
    return {name: value for name, value in params.items() if name not in _FROM_SEARCH}


def _found(
    options: tuple[str, ...], held: Resources, engine: Callable[[], SearchEngine], said: str
) -> dict[str, Any]:
    """Search in a server of this user that has the store open, or in this process."""
    from workers.serving.searching import found
    from workers.serving.beside.client import ask

    asked = _asked(options, said)
    answers = ask("search", asked)
    facts: dict[str, Any] = next(iter(answers)) if answers else found(asked, engine(), held)
    return facts


def _engine(stack: ExitStack, held: Resources) -> SearchEngine:
    from search import SearchEngine

    store = held.existing_store(hold=False)
    engine = stack.enter_context(closing(SearchEngine(held.encoder(), store)))
    engine.prepare()
    return engine


def _printer(as_json: bool) -> Callable[[dict[str, Any]], None]:
    from workers.cli.output import as_object, console, latency_line, marked, result_lines
    from workers.cli.output import wants_json as piped
    from workers.observe.printable import safe_json

    if piped(as_json):

        def as_line(result: dict[str, Any]) -> None:
            sys.stdout.write(safe_json(json.dumps(result, ensure_ascii=False)) + "\n")
            sys.stdout.flush()

        return as_line

    def for_people(result: dict[str, Any]) -> None:
        screen = console()
        screen.print(f"[bold]{marked(result['said'])}[/]")
        looked = result.pop("searched", None)
        for line in result_lines(as_object(result), looked):
            screen.print(line)
        screen.print(f"[dim]{latency_line(result['latency_s'])}[/]")

    return for_people

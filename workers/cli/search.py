"""``anymodal search``: one query, or what is said in a recording or a microphone."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import cache, partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click

from workers.beside import client
from workers.cli.options import (
    KindsOption,
    filter_options,
    json_option,
    kind_option,
    settings_options,
)
from workers.cli.output import (
    as_object,
    console,
    latency_line,
    marked,
    print_json,
    result_lines,
    wants_json,
)
from workers.cli.query import FILES, filter_of, found, request_of, searched, terms_of
from workers.cli.running import engine_of, opened
from workers.observe.printable import safe_json

if TYPE_CHECKING:
    from encoder.types import Utterance, Waveform
    from search import SearchEngine
    from search.listening import Said, Samples
    from workers.serving.resources import Resources

_GIVE = "Give a text, --text, --query-file, --image, --audio, --video or --like to search with."


@click.command()
@click.argument("words", metavar="[TEXT]...", nargs=-1)
@click.option("--text", multiple=True, metavar="TEXT", help="A further text to search with.")
@click.option("--not", "unwanted", multiple=True, metavar="TEXT", help="A text to stay away from.")
@click.option("--image", multiple=True, metavar="FILE", help="Search with an image.")
@click.option("--audio", multiple=True, metavar="FILE", help="Search with a sound or speech.")
@click.option("--video", multiple=True, metavar="FILE", help="Search with a video.")
@click.option(
    "--query-file",
    cls=KindsOption,
    multiple=True,
    metavar="FILE",
    help="Search with a file of any supported kind: {formats}.",
)
@click.option(
    "--like", multiple=True, metavar="ID|FILE", help="Find more like a stored asset or file."
)
@click.option(
    "--modality",
    metavar="LIST",
    default="",
    help="Modalities to find, such as image,audio. [default: all]",
)
@kind_option("Only files of this kind")
@click.option("--limit", default=10, show_default=True, help="The most hits, 1 to 1,000.")
@click.option(
    "--quota", multiple=True, metavar="KIND=N", help="How many hits of a kind, instead of --limit."
)
@filter_options("Only")
@click.option("--threshold", type=float, help="The lowest score of a hit.")
@click.option("--diversity", default=0.0, help="From 0, the best hits, to 1, the most diverse.")
@click.option("--weak", "shows_weak", is_flag=True, help="Also show weaker matches.")
@click.option(
    "--moments", default=3, show_default=True, help="How many further moments to show of each hit."
)
@click.option("--segments", is_flag=True, help="Return segments instead of files.")
@click.option(
    "--stacks/--no-stacks", default=True, help="Show nearly identical photos as one hit (default)."
)
@click.option(
    "--lexical/--no-lexical", default=None, help="Also match words. [default: if the store can]"
)
@click.option("--strong", is_flag=True, help="Also see what others have only just written.")
@click.option(
    "--page", metavar="CURSOR", default="", help="Continue from the cursor that ended another page."
)
@click.option(
    "--sort",
    metavar="FIELD",
    default="",
    help="Sort all strong hits by date, name, size_bytes, rating …; -date: newest first.",
)
@click.option("--literal", is_flag=True, help="Take dates and places as words only.")
@click.option(
    "-v", "--verbose", is_flag=True, help="Also show the time of each stage, and the cursor."
)
@click.option("--explain", is_flag=True, help="Explain each score.")
@click.option(
    "--listen",
    metavar="FILE|-",
    help="Search for what is said in a recording, or live from standard input (-): signed 16-bit, "
    "mono, 16,000 Hz, raw or as WAV.",
)
@click.option(
    "--pause",
    "pause_s",
    type=click.FloatRange(0.5, 10.0),
    default=0.8,
    show_default=True,
    metavar="SECONDS",
    help="With --listen, the silence that ends a question.",
)
@settings_options("store", "model")
@json_option
def search(listen: str | None, pause_s: float, **options: Any) -> None:
    """Find the assets nearest to TEXT, to files, or to all of them together.

    Each of these may end in a weight: --text "a beach^2" --not "people^0.3".

    \b
    arecord -q -t raw -f S16_LE -r 16000 -c 1 | anymodal search --listen -
    anymodal search --listen question.wav --limit 3 --modality image
    """
    if listen:
        _listen(listen, pause_s, options)
        return
    if not any(options[name] for name in ("words", "text", "unwanted", *FILES)):
        raise click.UsageError(_GIVE)
    with ExitStack() as stack:
        resources = cache(partial(stack.enter_context, opened()))
        facts = _found(options, resources, lambda: engine_of(resources(), stack))
    if wants_json():
        print_json(facts)
    else:
        _print_result(facts, options)


def _print_result(facts: dict[str, Any], options: dict[str, Any]) -> None:
    looked, screen = facts.pop("searched", None), console()
    for line in result_lines(as_object(facts), looked, shows_weak=options["shows_weak"]):
        screen.print(line)
    if options["verbose"]:
        if facts["next_cursor"]:
            screen.print(f"[dim]--page {facts['next_cursor']}[/]", soft_wrap=True)
        screen.print(f"[dim]{latency_line(facts['latency_s'])}[/]")


def _found(
    options: dict[str, Any],
    resources: Callable[[], Resources],
    engine: Callable[[], SearchEngine],
) -> dict[str, Any]:
    """Search by a server of this user that has a model open, or else in this process."""
    from search.errors import StoreBusyError

    terms, request = terms_of(options), request_of(options)
    facts = client.search(terms, request)
    if facts is None:
        return found(terms, request, resources(), engine)
    if not facts["hits"]:
        with suppress(StoreBusyError):  # the server holds a FILE.db
            facts["searched"] = searched(request, resources())
    return facts


def _listen(source: str, pause_s: float, options: dict[str, Any]) -> None:
    """Answer each question that is spoken in a source, and show its words while it is spoken."""
    from encoder.services.speech import speech_spans
    from search.listening import Listener

    filter_of(request_of(options)["filter"])  # report mistakes before loading the model
    with ExitStack() as stack:
        resources = cache(partial(stack.enter_context, opened()))
        engine = cache(lambda: engine_of(resources(), stack))

        def transcribe(speech: Waveform) -> Sequence[Utterance]:
            return resources().encoder().services.transcribe(speech)

        def find(question: str) -> dict[str, Any]:
            return _found({**options, "words": (*options["words"], question)}, resources, engine)

        listener = Listener(speech_spans, transcribe, pause_s)
        screen = console(stderr=True)
        words = stack.enter_context(screen.status("")) if screen.is_terminal else None
        for samples in _sound(source):
            for utterance in listener.add(samples):
                _print_answer(_answered(utterance, find), options)
            if words and source == "-":
                words.update(marked(listener.partial()))
        for utterance in listener.end():
            _print_answer(_answered(utterance, find), options)


def _answered(utterance: Said, find: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """The hits for what was said, and how long after it they are there."""
    result = find(utterance.text)
    latency_s = {"recognize": utterance.recognize_s, **result["latency_s"]}
    return {
        "said": utterance.text,
        "language": utterance.language,
        "confidence": utterance.confidence,
        "start_s": utterance.start_s,
        "end_s": utterance.end_s,
        "after_speech_s": round(perf_counter() - utterance.ended, 3),
        **result,
        "latency_s": {**latency_s, "total": latency_s["total"] + utterance.recognize_s},
    }


def _sound(source: str) -> Iterator[Samples]:
    from search.listening import RATE, chunks, pcm_chunks

    if source == "-":
        return pcm_chunks(sys.stdin.buffer)
    from encoder.media.sound import load_sound, resample

    return chunks(resample(load_sound(Path(source).expanduser()), RATE))


def _print_answer(result: dict[str, Any], options: dict[str, Any]) -> None:
    if wants_json():
        sys.stdout.write(safe_json(json.dumps(result, ensure_ascii=False)) + "\n")
        sys.stdout.flush()
    else:
        console().print(f"[bold]{marked(result['said'])}[/]")
        _print_result(result, {**options, "shows_weak": False})
        console().print(f"[dim]{result['after_speech_s'] * 1000:.0f} ms after the last word[/]")

"""``anymodal search``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from workers.commands.options import apply_options, json_option, model_option, store_option

if TYPE_CHECKING:
    from encoder.types import Item

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("text", nargs=-1)
@click.option("--image", multiple=True, type=_file, help="Search with an image.")
@click.option("--audio", multiple=True, type=_file, help="Search with a sound or speech.")
@click.option("--video", multiple=True, type=_file, help="Search with a video.")
@click.option(
    "--modality", metavar="LIST", default="", help="Kinds wanted, such as image,audio. [all]"
)
@click.option("--limit", default=10, show_default=True, help="The most hits, 1 to 1,000.")
@store_option
@model_option
@json_option
def search(
    text: tuple[str, ...],
    image: tuple[Path, ...],
    audio: tuple[Path, ...],
    video: tuple[Path, ...],
    modality: str,
    limit: int,
    store: str | None,
    model: str | None,
    as_json: bool,
) -> None:
    """Find what is nearest to TEXT, to files, or to all of them together."""
    items = _items(list(text), list(image), list(audio), list(video))
    if not items:
        raise click.UsageError("Give a text, --image, --audio or --video to search with.")
    apply_options(store, model=model)
    from encoder.types import Modality
    from search import Query, SearchEngine
    from search import as_json as result_json
    from workers import resources
    from workers.output import console, hits_table, latency_line, print_json, wants_json

    kinds = [Modality(kind.strip()) for kind in modality.split(",") if kind.strip()]
    try:
        engine = SearchEngine(resources.shared_encoder(), resources.shared_store())
        result = engine.search(Query(items, kinds, limit))
    finally:
        resources.close()
    if wants_json(as_json):
        print_json(result_json(result))
        return
    screen = console()
    screen.print(hits_table(result.hits) if result.hits else "Nothing found.")
    screen.print(f"[dim]{latency_line(result.latency_s)}[/]")


def _items(text: list[str], image: list[Path], audio: list[Path], video: list[Path]) -> list[Item]:
    """The query's parts; words that the shell split are one text."""
    from encoder.inputs import AudioFormat, read_argument

    given: dict[str, list[str] | list[Path]] = {
        "text": [" ".join(text)] if text else [],
        "image": image,
        "audio": audio,
        "video": video,
    }
    batches = [read_argument(kind, part, AudioFormat()) for kind, part in given.items() if part]
    return [item for batch in batches for item in batch.items]

"""``anymodal search``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from workers.commands.options import apply_options, json_option, model_option, store_option

if TYPE_CHECKING:
    from workers.asking import Asked

_GIVE = "Give a text, --text, --image, --audio, --video or --like to search with."


@click.command()
@click.argument("words", metavar="[TEXT]...", nargs=-1)
@click.option("--text", multiple=True, metavar="TEXT", help="A further text to search with.")
@click.option("--not", "unwanted", multiple=True, metavar="TEXT", help="A text to stay away from.")
@click.option("--image", multiple=True, metavar="FILE", help="Search with an image.")
@click.option("--audio", multiple=True, metavar="FILE", help="Search with a sound or speech.")
@click.option("--video", multiple=True, metavar="FILE", help="Search with a video.")
@click.option("--like", multiple=True, metavar="ID|FILE", help="More like what is stored.")
@click.option(
    "--modality", metavar="LIST", default="", help="Kinds wanted, such as image,audio. [all]"
)
@click.option("--limit", default=10, show_default=True, help="The most hits, 1 to 1,000.")
@click.option(
    "--quota", multiple=True, metavar="KIND=N", help="So many hits of a kind, instead of --limit."
)
@click.option("--filter", "conditions", multiple=True, metavar="JSON|FIELD=VALUE")
@click.option("--tag", "tags", multiple=True, help="Only what has this tag.")
@click.option("--path", help="Only what lies at this path or below it.")
@click.option("--threshold", type=float, help="The lowest score of a hit.")
@click.option("--diversity", default=0.0, help="0: the best; up to 1: the least alike.")
@click.option("--moments", default=3, show_default=True, help="Further moments of each hit.")
@click.option("--segments", is_flag=True, help="Each segment is a hit, not each file.")
@click.option(
    "--lexical/--no-lexical", default=None, help="Also match words. [where the store can]"
)
@click.option("--strong", is_flag=True, help="See what others wrote this very moment, too.")
@click.option("--page", metavar="CURSOR", default="", help="Go on where another page ended.")
@click.option("--explain", is_flag=True, help="Say how each score came about.")
@store_option
@model_option
@json_option
def search(store: str | None, model: str | None, as_json: bool, **asked: Any) -> None:
    """Find what is nearest to TEXT, to files, or to all of them together.

    Each of these may end in a weight: --text "a beach^2" --not "people^0.3".
    """
    terms = ("words", "text", "unwanted", "image", "audio", "video", "like")
    if not any(asked[name] for name in terms):
        raise click.UsageError(_GIVE)
    apply_options(store, model=model)
    from search import Query, SearchEngine
    from search import as_json as result_json
    from workers import resources
    from workers.asking import terms_of
    from workers.output import console, latency_line, print_json, result_lines, wants_json
    from workers.searched import searched

    try:
        facts = _facts(asked)
        held = resources.existing_store()
        query = Query(terms_of(_terms(asked), held), **facts)
        engine = SearchEngine(resources.shared_encoder(), held)
        result = engine.search(query)
        engine.close()
        looked = None if result.hits else searched(held, query)
    finally:
        resources.close()
    if wants_json(as_json):
        print_json(result_json(result) | ({"searched": looked.as_json()} if looked else {}))
        return
    screen = console()
    for line in result_lines(result, looked):
        screen.print(line)
    screen.print(f"[dim]{latency_line(result.latency_s)}[/]")


def _terms(asked: dict[str, Any]) -> Asked:
    from workers.asking import Asked

    texts = [" ".join(asked["words"])] if asked["words"] else []  # words that the shell split
    files = {kind: asked[kind] for kind in ("image", "audio", "video")}
    return Asked([*texts, *asked["text"]], asked["unwanted"], files, asked["like"])


def _facts(asked: dict[str, Any]) -> dict[str, Any]:
    """All of a query but its terms."""
    from workers.asking import filter_of, kinds_of, quotas_of

    return {
        "modalities": kinds_of(asked["modality"]),
        "limit": asked["limit"],
        "filter": filter_of(asked["conditions"], asked["tags"], asked["path"]),
        "quotas": quotas_of(asked["quota"]),
        "score_threshold": asked["threshold"],
        "group_by": "segment" if asked["segments"] else "asset",
        "moments": asked["moments"],
        "diversity": asked["diversity"],
        "lexical": asked["lexical"],
        "consistency": "strong" if asked["strong"] else "session",
        "cursor": asked["page"],
        "explain": asked["explain"],
    }

"""``anymodal store reindex``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from workers.cli.options import apply_options, json_option, store_option


@click.command()
@store_option
@click.option("--model", metavar="SPEC", help="The new model.")
@click.option(
    "--precision",
    help="The new model's precision, such as none or int8. [default: from the settings]",
)
@click.option(
    "--share",
    type=click.FloatRange(0.01, 1),
    default=0.5,
    show_default=True,
    help="The share of time to work; the rest is left to searches.",
)
@click.option(
    "--queries",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file of queries, one per line, to compare the models by. [default: 50 sampled ones]",
)
@click.option(
    "--least-overlap",
    type=click.FloatRange(0, 1),
    default=0.0,
    help="Keep the old model if the first ten hits overlap less than this.",
)
@click.option(
    "--leave-behind", is_flag=True, help="Switch even if some files cannot be read again."
)
@click.option(
    "--no-switch", is_flag=True, help="Stop before the switch; run again without this to switch."
)
@click.option("--rollback", is_flag=True, help="Go back to the former model at once.")
@click.option("--drop-former", is_flag=True, help="Remove the embeddings of the former model.")
@json_option
def reindex(
    store: str | None,
    model: str | None,
    precision: str | None,
    share: float,
    queries: Path | None,
    least_overlap: float,
    leave_behind: bool,
    no_switch: bool,
    rollback: bool,
    drop_former: bool,
    as_json: bool,
) -> None:
    """Move a store to another --model while it is searched.

    Files and uploads are encoded again in the background, beside the old embeddings; both models'
    answers to sampled queries are compared; then searches switch to the new model. Servers and
    workers follow within seconds. An interrupted run continues where it stopped.

    Exits with 1 if the old model stays.
    """
    from encoder.errors import InputError

    apply_options(store)
    if sum(map(bool, (model, rollback, drop_former))) != 1:
        raise InputError(
            "--model, --rollback, --drop-former",
            got="none or several",
            wanted="exactly one of them",
        )
    if drop_former:
        _drop(as_json)
        return
    request = {
        "model": model or "",
        "precision": precision,
        "share": share,
        "queries": _lines(queries),
        "least_overlap": least_overlap,
        "leave_behind": leave_behind,
        "switch": not no_switch,
        "rollback": rollback,
    }
    result = _moved(request)
    _show(result, as_json)
    if not result["switched"] and not no_switch:
        sys.exit(1)


def _lines(queries: Path | None) -> list[str]:
    if queries is None:
        return []
    return [text for line in queries.read_text("utf-8").splitlines() if (text := line.strip())]


def _moved(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """The result; a server of this user that holds the store does the work."""
    from workers.beside.client import last_answer
    from workers.cli.output import progress_bar

    with progress_bar("assets") as bar:
        task = bar.add_task("Encoding", total=None, note="")

        def progress(n_done: int, n_assets: int) -> None:
            bar.update(task, completed=n_done, total=n_assets)

        return last_answer("reindex", request, progress) or _here(request, progress)


def _here(request: Mapping[str, Any], progress: Any) -> Mapping[str, Any]:
    from workers.config import current_settings
    from workers.library.reindex import ReindexPlan, move
    from workers.serving.resources import Resources

    with closing(Resources(current_settings())) as resources:
        return move(resources, ReindexPlan(**request), progress).as_json()


def _drop(as_json: bool) -> None:
    from search.store.stored_spaces import drop_former
    from workers.cli.output import console, print_json, wants_json
    from workers.config import current_settings

    space = drop_former(current_settings().store)
    if wants_json(as_json):
        print_json({"dropped": space})
    else:
        console().print(f"Dropped the space {space}.")


def _show(result: Mapping[str, Any], as_json: bool) -> None:
    from workers.cli.output import console, marked, print_json, wants_json

    if wants_json(as_json):
        print_json(result)
        return
    screen = console()
    screen.print(
        f"{result['assets']} assets: {result['encoded']} encoded, {result['known']} known, "
        f"{result['gone']} without a file"
    )
    for failure in result["failed"]:
        screen.print(
            f"[yellow]left behind[/] {marked(failure['uri'])}: {marked(failure['reason'])}"
        )
    if compared := result["comparison"]:
        screen.print(
            f"In {compared['n_queries']} queries, the models share "
            f"{compared['overlap_at_10']:.0%} of the first ten hits; the first hit is the same in "
            f"{compared['same_first']:.0%}. Most different:"
        )
        for query in compared["most_different"][:5]:
            screen.print(f"  {query['overlap']:.0%}  {marked(query['query'])}")
    if result["switched"]:
        screen.print(f"[green]Searches now use {marked(result['model'])}.[/]")
    else:
        screen.print(f"[yellow]The old model stays.[/] {marked(result['reason'])}")

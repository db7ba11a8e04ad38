"""``anymodal tune-index``."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from workers.commands.options import apply_options, json_option, model_option, store_option

if TYPE_CHECKING:
    from search.store.tuning.found import Trial, Tuned
    from workers.serving.resources import Resources

_GB = 1e9


@click.command()
@store_option
@model_option
@click.option(
    "--sample",
    default=20_000,
    show_default=True,
    type=click.IntRange(2_500, 2_000_000),
    help="The most segments to measure.",
)
@click.option(
    "--index",
    "indexes",
    multiple=True,
    metavar="NAME",
    help="An index to measure, as ANYMODAL_STORE__INDEX names it. Repeatable. [default: all]",
)
@click.option(
    "--memory",
    "memory_gb",
    type=click.FloatRange(min=0.0, min_open=True),
    metavar="GB",
    help="The most memory for the index of all segments. [default: no limit]",
)
@json_option
def tune_index(
    store: str | None,
    model: str | None,
    sample: int,
    indexes: tuple[str, ...],
    memory_gb: float | None,
    as_json: bool,
) -> None:
    """Measure the indexes of a Milvus server on a sample of this store, and propose settings.

    Copies the sample into temporary collections, one for each index, and searches them with the
    shipped questions and with segments of the sample. The store is only read. For a folder, the
    scan is measured.
    """
    apply_options(store, model=model)
    from workers.config import current_settings
    from workers.console.output import progress_bar, wants_json
    from workers.serving.resources import Resources

    with closing(Resources(current_settings())) as held, progress_bar("") as bar:
        task = bar.add_task("Reading", total=None, note="")
        tuned = _tuned(
            held,
            n=sample,
            memory_bytes=memory_gb and memory_gb * _GB,
            progress=lambda what: bar.update(task, description=f"Measuring {what}"),
            **({"indexes": indexes} if indexes else {}),
        )
    if wants_json(as_json):
        _print(tuned)
    else:
        _show(tuned)


def _tuned(held: Resources, **options: Any) -> Tuned:
    from encoder.calibration.queries import sample_queries
    from encoder.types import QUERY, TEXT, Item
    from search.store.tuning.tune import tune

    store = held.existing_store(hold=False)
    items = [Item(TEXT, query.text, QUERY) for query in sample_queries()]
    return tune(store, held.settings.store, held.encoder().encode_items(items), **options)


def _print(tuned: Tuned) -> None:
    from dataclasses import asdict

    from workers.console.output import print_json

    print_json(asdict(tuned))


def _show(tuned: Tuned) -> None:
    from rich.table import Table

    from search.store.tuning.found import TOP
    from workers.console.output import console, marked

    title = f"{tuned.n_rows:,} of {tuned.n_stored:,} segments of {tuned.store}"
    table = Table(title=marked(title), title_justify="left")
    table.add_column("index")
    heads = ["candidates", f"recall at {TOP}", "p50 ms", "p95 ms", "built in s", "memory for all"]
    for head in heads:
        table.add_column(head, justify="right")
    for trial in tuned.trials:
        table.add_row(trial.index, *_cells(trial, tuned.n_stored))
    out = console()
    out.print(table)
    if tuned.unsealed is not None:
        out.print(f"rows just written: recall at {TOP} {tuned.unsealed:.3f}")
    for why in tuned.refused.values():
        out.print(marked(why), style="dim")
    for name, value in tuned.settings.items():
        out.print(f"[bold]{name}={value}[/]")
    for note in tuned.notes:
        out.print(marked(note))


def _cells(trial: Trial, n_stored: int) -> list[str]:
    memory = trial.row_bytes * n_stored
    return [
        f"{trial.candidates:,}",
        f"{trial.recall:.3f}",
        f"{trial.p50_ms:.1f}",
        f"{trial.p95_ms:.1f}",
        f"{trial.built_s:.1f}" if trial.built_s else "–",
        f"{memory / _GB:,.2f} GB",
    ]

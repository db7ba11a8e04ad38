"""``anymodal store calibrate``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from workers.cli.options import apply_options, json_option, model_option, store_option

if TYPE_CHECKING:
    from rich.table import Table


@click.command()
@store_option
@model_option
@click.option("--dry-run", is_flag=True, help="Measure and show without changing anything.")
@click.option("--shipped", is_flag=True, help="Go back to the constants that ship with the model.")
@json_option
def calibrate(
    store: str | None, model: str | None, dry_run: bool, shipped: bool, as_json: bool
) -> None:
    """Make scores of texts, pictures, sounds and films comparable in this store.

    Measures how near unrelated content of each kind lies to some 300 queries, without labels, and
    rewrites the store's rows without encoding them again. Searches continue meanwhile. An
    interrupted rewrite is completed.
    """
    apply_options(store, model=model)
    from workers.cli.output import print_json, progress_bar, wants_json

    with progress_bar("rows") as bar:
        task = bar.add_task("Measuring", total=None, note="")

        def progress(n_done: int, n_rows: int) -> None:
            bar.update(task, description="Rewriting", completed=n_done, total=n_rows)

        result = _calibrated({"dry_run": dry_run, "shipped": shipped}, progress)
    if wants_json(as_json):
        print_json(result)
    else:
        _show(result)


def _calibrated(
    request: Mapping[str, Any], progress: Callable[[int, int], None]
) -> Mapping[str, Any]:
    """The result; a server of this user that holds the store does the work."""
    from workers.beside.client import last_answer

    if result := last_answer("calibrate", request, progress):
        return result
    from workers.config import current_settings
    from workers.pipeline.calibration import calibrate as measured
    from workers.serving.resources import Resources

    with closing(Resources(current_settings())) as resources:
        return measured(resources.encoder(), resources.existing_store(), progress, **request)


def _show(result: Mapping[str, Any]) -> None:
    from workers.cli.output import console

    if result["resumed"]:
        console().print("Completed an interrupted rewrite.")
    console().print(calibration_table(result))
    did = "nothing changed" if result["dry_run"] else f"{result['rows']} rows rewritten"
    console().print(f"[dim]{did}[/]")


def calibration_table(result: Mapping[str, Any]) -> Table:
    """What `calibrate` found: each kind's constants, and what they change."""
    from rich.table import Table

    headings = (
        "kind",
        "segments",
        "μ",
        "c",
        "was μ",
        "was c",
        "± c",
        "± c, languages",
        "in top 10",
        "weak below",
    )
    table = Table()
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "kind" else "right")
    measured = result.get("measured", {})
    for modality, constants in result["calibration"]["modalities"].items():
        measures = measured.get(modality, constants)
        former = measures.get("before") or {}
        shares = measures.get("share_of_best", {})
        table.add_row(
            modality,
            *(
                _figure(measures.get("n_segments"), 0),
                _figure(measures["mu"], 3),
                _figure(measures["c"], 3),
            ),
            *(_figure(former.get(name), 3) for name in ("mu", "c")),
            *(_half(measures.get(name)) for name in ("spread", "spread_of_languages")),
            f"{shares['before']:.0%} → {shares['after']:.0%}" if shares else "",
            _figure(measures.get("floor"), 1),
        )
    return table


def _figure(value: float | None, n_digits: int) -> str:
    return "" if value is None else f"{value:.{n_digits}f}"


def _half(spread: float | None) -> str:
    return "" if spread is None else f"{spread / 2:.1f}"

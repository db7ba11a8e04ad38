"""``anymodal calibrate``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

import click

from workers.cli.options import apply_options, json_option, model_option, store_option


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

        found = _calibrated({"dry_run": dry_run, "shipped": shipped}, progress)
    if wants_json(as_json):
        print_json(found)
    else:
        _show(found)


def _calibrated(
    request: Mapping[str, Any], progress: Callable[[int, int], None]
) -> Mapping[str, Any]:
    """The result; a server of this user that holds the store does the work."""
    from workers.serving.beside.client import ask

    if answers := ask("calibrate", request):
        found: Mapping[str, Any] = {}
        for found in answers:
            if "done" in found:
                progress(found["done"], found["rows"])
        return found
    from workers.config import current_settings
    from workers.pipeline.calibration import calibrate as measured
    from workers.serving.resources import Resources

    with closing(Resources(current_settings())) as held:
        return measured(held.encoder(), held.existing_store(), progress, **request)


def _show(found: Mapping[str, Any]) -> None:
    from workers.cli.output import calibration_table, console

    if found["resumed"]:
        console().print("Completed an interrupted rewrite.")
    console().print(calibration_table(found))
    did = "nothing changed" if found["dry_run"] else f"{found['rows']} rows rewritten"
    console().print(f"[dim]{did}[/]")

"""``anymodal stats``."""

from __future__ import annotations

import click

from workers.cli.options import apply_options, json_option, model_option, store_option


@click.command()
@store_option
@model_option
@json_option
def stats(store: str | None, model: str | None, as_json: bool) -> None:
    """Count what is stored: kinds, sizes, languages, years. Reads every asset's row."""
    apply_options(store, model=model)
    from workers.cli.library_tables import stats_lines
    from workers.cli.reading_store import answer, show

    show(answer("stats", {}), stats_lines, as_json)

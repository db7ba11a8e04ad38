"""``anymodal doctor``."""

from __future__ import annotations

import click

from workers.cli.options import (
    apply_options,
    broker_option,
    json_option,
    model_option,
    store_option,
)


@click.command()
@store_option
@broker_option
@model_option
@json_option
def doctor(store: str | None, broker: str | None, model: str | None, as_json: bool) -> None:
    """Check the model, the store and the broker; exit with 1 if one of them fails."""
    apply_options(store, broker, model)
    from dataclasses import asdict

    from workers.cli.output import console, marked, print_json, wants_json
    from workers.config import current_settings
    from workers.serving.diagnosis import diagnose
    from workers.serving.resources import Resources

    findings = diagnose(Resources(current_settings()))
    if wants_json(as_json):
        print_json({"findings": [asdict(finding) for finding in findings]})
    else:
        for f in findings:
            mark = "[green]ok[/]  " if f.ok else "[red]fails[/]"
            console().print(f"{mark} [bold]{f.part}[/] {marked(f.text)}", soft_wrap=True)
    if not all(finding.ok for finding in findings):
        raise SystemExit(1)

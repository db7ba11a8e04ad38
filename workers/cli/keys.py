"""``anymodal keys``: keys of the API."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from workers.cli.options import json_option

if TYPE_CHECKING:
    from search.api.access.keys import ApiKey, KeyRing


@click.group()
def keys() -> None:
    """Create, list and revoke API keys."""
    from encoder.system.private import keep_private

    keep_private()


@keys.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(["read", "write", "admin"]),
    default=["read"],
    show_default=True,
    help="read: search and view; write: upload and delete; admin: everything. Repeatable.",
)
@click.option(
    "--per-minute",
    type=click.IntRange(1, 1_000_000),
    default=600,
    show_default=True,
    help="The most requests per minute.",
)
@json_option
def create(name: str, scopes: tuple[str, ...], per_minute: int, as_json: bool) -> None:
    """Create a key for NAME and print it; it cannot be shown again."""
    from workers.cli.output import print_json, wants_json

    key, token = _ring().create(name, scopes, per_minute)
    if wants_json(as_json):
        print_json({**_facts(key), "key": token})
    else:
        click.echo(token)


@keys.command("list")
@json_option
def list_keys(as_json: bool) -> None:
    """List the keys, without their secrets."""
    from workers.cli.output import print_json, wants_json

    api_keys = _ring().all()
    if wants_json(as_json):
        print_json({"keys": [_facts(key) for key in api_keys]})
        return
    for key in api_keys:
        state = "revoked" if key.revoked else "active"
        scopes = ",".join(key.scopes)
        click.echo(f"{key.key_id}  {state:8}{scopes:18}{key.per_minute:>7}/min  {key.name}")


@keys.command()
@click.argument("key_id", metavar="ID")
@json_option
def revoke(key_id: str, as_json: bool) -> None:
    """Revoke key ID; running servers notice at once."""
    from workers.cli.output import print_json, wants_json

    key = _ring().revoke(key_id)
    if wants_json(as_json):
        print_json(_facts(key))
    else:
        click.echo(f"{key.key_id}: revoked")


def _ring() -> KeyRing:
    from search.api.access.keys import KeyRing
    from workers.config import current_settings
    from workers.serving.data_folder import keys_path

    return KeyRing(keys_path(current_settings().api))


def _facts(key: ApiKey) -> dict[str, object]:
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(key.created))
    return {
        "id": key.key_id,
        "name": key.name,
        "scopes": list(key.scopes),
        "per_minute": key.per_minute,
        "created": created,
        "revoked": key.revoked is not None,
    }

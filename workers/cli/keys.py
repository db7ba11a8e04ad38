"""``anymodal keys``: keys of the API."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from workers.cli.options import json_option
from workers.cli.output import marked, show

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
def create(name: str, scopes: tuple[str, ...], per_minute: int) -> None:
    """Create a key for NAME and print it; it cannot be shown again."""
    key, token = _ring().create(name, scopes, per_minute)
    show({**_facts(key), "key": token}, lambda _: [token])


@keys.command("list")
@json_option
def list_keys() -> None:
    """List the keys, without their secrets."""
    show({"keys": [_facts(key) for key in _ring().all()]}, _lines)


def _lines(answer: Mapping[str, Any]) -> Iterator[str]:
    for key in answer["keys"]:
        state = "revoked" if key["revoked"] else "active"
        scopes = ",".join(key["scopes"])
        yield marked(f"{key['id']}  {state:8}{scopes:18}{key['per_minute']:>7}/min  {key['name']}")


@keys.command()
@click.argument("key_id", metavar="ID")
@json_option
def revoke(key_id: str) -> None:
    """Revoke key ID; running servers notice at once."""
    key = _ring().revoke(key_id)
    show(_facts(key), lambda _: [f"{key.key_id}: revoked"])


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

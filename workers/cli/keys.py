"""``anymodal keys``: keys of the API."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from workers.cli.options import filter_options, json_option
from workers.cli.output import marked, show, table

if TYPE_CHECKING:
    from search.api.access.keys import ApiKey, KeyRing


@click.group()
def keys() -> None:
    """Create, list, restrict and revoke API keys."""
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
@filter_options("The key sees and changes only", "--folder")
@json_option
def create(name: str, scopes: tuple[str, ...], per_minute: int, **restriction: Any) -> None:
    """Create a key for NAME and print it; it cannot be shown again."""
    key, token = _ring().create(name, scopes, per_minute, _filter(**restriction))
    show({**_facts(key), "key": token}, lambda _: [token])


@keys.command("list")
@json_option
def list_keys() -> None:
    """List the keys, without their secrets."""
    answer = {"keys": [_facts(key) for key in _ring().all()]}
    rows = [
        (
            key["id"],
            "revoked" if key["revoked"] else "active",
            ", ".join(key["scopes"]),
            key["per_minute"],
            key["name"],
            json.dumps(key["filter"], ensure_ascii=False) if key["filter"] else None,
        )
        for key in answer["keys"]
    ]
    headings = ("key", "state", "scopes", "per minute", "name", "sees only")
    show(answer, lambda _: [table(headings, rows, n_left=len(headings))])


@keys.command()
@click.argument("key_id", metavar="ID")
@filter_options("The key sees and changes only", "--folder")
@click.option("--everything", is_flag=True, help="Take the key's filter away.")
@json_option
def restrict(key_id: str, *, everything: bool, **restriction: Any) -> None:
    """Let key ID see and change only what meets all conditions."""
    if everything == any(restriction.values()):
        raise click.UsageError("Give either conditions or --everything.")
    key = _ring().restrict(key_id, _filter(**restriction))
    within = json.dumps(key.filter, ensure_ascii=False) if key.filter else "everything"
    show(_facts(key), lambda _: [marked(f"{key.key_id}: {within}")])


@keys.command()
@click.argument("key_id", metavar="ID")
@json_option
def revoke(key_id: str) -> None:
    """Revoke key ID; running servers notice at once."""
    key = _ring().revoke(key_id)
    show(_facts(key), lambda _: [f"{key.key_id}: revoked"])


def _filter(
    conditions: Sequence[str], tags: Sequence[str], path: str | None
) -> dict[str, Any] | None:
    from ingest.sources.objects import whole_path

    parts: list[Any] = [*conditions, *({"field": "tags", "contains": tag} for tag in tags)]
    if path is not None:
        parts.append({"field": "path", "prefix": f"{whole_path(path).rstrip('/')}/"})
    return {"and": parts} if parts else None


def _ring() -> KeyRing:
    from search.api.access.keys import KeyRing
    from workers.config import current_settings
    from workers.serving.data_folder import keys_path

    return KeyRing(keys_path(current_settings().api))


def _facts(key: ApiKey) -> dict[str, Any]:
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(key.created))
    return {
        "id": key.key_id,
        "name": key.name,
        "scopes": list(key.scopes),
        "per_minute": key.per_minute,
        "created": created,
        "revoked": key.revoked is not None,
        "filter": key.filter,
    }

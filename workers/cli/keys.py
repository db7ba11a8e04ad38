"""``anymodal keys``: keys of the API."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

from workers.cli.options import json_option
from workers.cli.output import marked, show

if TYPE_CHECKING:
    from search.api.access.keys import ApiKey, KeyRing


_P = ParamSpec("_P")
_T = TypeVar("_T")


def _filter_options(command: Callable[_P, _T]) -> Callable[_P, _T]:
    """The options that say what a key sees."""
    options = (
        click.option(
            "--filter",
            "conditions",
            multiple=True,
            metavar="JSON|FIELD=VALUE",
            help="The key sees and changes only assets that meet this condition. Repeatable.",
        ),
        click.option("--tag", "tags", multiple=True, help="Only assets with this tag."),
        click.option("--folder", metavar="FOLDER|URL", help="Only what lies in this folder."),
    )
    for option in reversed(options):
        command = option(command)
    return command


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
@_filter_options
@json_option
def create(name: str, scopes: tuple[str, ...], per_minute: int, **restriction: Any) -> None:
    """Create a key for NAME and print it; it cannot be shown again."""
    key, token = _ring().create(name, scopes, per_minute, _filter(**restriction))
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
        within = f"  {json.dumps(key['filter'], ensure_ascii=False)}" if key["filter"] else ""
        line = f"{key['id']}  {state:8}{scopes:18}{key['per_minute']:>7}/min  {key['name']}{within}"
        yield marked(line)


@keys.command()
@click.argument("key_id", metavar="ID")
@_filter_options
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
    conditions: Sequence[str], tags: Sequence[str], folder: str | None
) -> dict[str, Any] | None:
    from ingest.sources.objects import whole_path

    parts: list[Any] = [*conditions, *({"field": "tags", "contains": tag} for tag in tags)]
    if folder is not None:
        parts.append({"field": "path", "prefix": f"{whole_path(folder).rstrip('/')}/"})
    return {"and": parts} if parts else None


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
        "filter": key.filter,
    }

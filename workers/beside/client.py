"""Search by a running server. Imports little, as most commands find none."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from encoder.system.environment import settings, variable
from workers.beside.place import short_name, socket_path

if TYPE_CHECKING:
    import httpx2

    from search.api.schemas import SearchAnswer


def search(terms: Sequence[Mapping[str, Any]], request: Mapping[str, Any]) -> dict[str, Any] | None:
    """Search by this user's server of the store and model of the settings.

    Args:
        terms: of `workers.cli.query.terms_of`.
        request: of `workers.cli.query.request_of`.

    Returns:
        The result as `search.types.as_json` has it; None if this process is to search by itself:
        there is no such server, it stopped meanwhile, or it refused, as it does where its limits
        are lower or the request is wrong, which this process can say in the words of its options.

    Raises:
        ServerError: it refused, and holds a store that no other process can open.
    """
    path = socket_path(_store_uri())
    if path is None or not path.exists():
        return None
    with short_name(path) as name:
        with socket.socket(socket.AF_UNIX) as probe:
            is_dead = probe.connect_ex(name)  # left by a server that was killed, or another user's
        return None if is_dead else _asked(name, terms, request)


def _asked(
    name: str, terms: Sequence[Mapping[str, Any]], request: Mapping[str, Any]
) -> dict[str, Any] | None:
    from search.client import Anymodal, ServerError, UnreachableError
    from search.store.open import admits_others

    model = variable("ANYMODAL_ENCODER__MODEL")
    try:
        with Anymodal("http://localhost", retries=0, transport=_own_server(name)) as client:
            if model and model != (served_model := client.info().model):
                from encoder.models.spec import stands_for  # imports numpy

                if not stands_for(model, served_model):
                    return None
            return _plain(client.search(**request, terms=[*map(_with_id, terms)]))
    except (OSError, UnicodeError, UnreachableError):  # a file that cannot be read, or its name
        return None
    except ServerError:
        if admits_others(_store_uri()):
            return None
        raise


def _store_uri() -> str | None:
    """`workers.config.Settings.store` without the login."""
    return settings(["ANYMODAL_STORE"]).get("ANYMODAL_STORE")


def _own_server(name: str) -> httpx2.BaseTransport:
    """Connects to a socket if this user's process listens there."""
    import httpx2

    from encoder.system.private import is_own

    def check(event: str, facts: Mapping[str, Any]) -> None:
        if event != "connection.connect_unix_socket.complete":
            return
        stream = facts["return_value"]
        if not is_own(stream.get_extra_info("socket")):
            stream.close()
            raise httpx2.ConnectError("the server is another user's")

    class OwnServer(httpx2.HTTPTransport):
        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            request.extensions = {**request.extensions, "trace": check}
            return super().handle_request(request)

    return OwnServer(uds=name, verify=False)  # without TLS; its certificates take 40 ms to read


def _plain(answer: SearchAnswer) -> dict[str, Any]:
    facts = answer.model_dump()
    names = ("next_cursor", "explain", "understood", "warnings", "judged", "total")
    return {
        "hits": [_hit(hit) for hit in facts["hits"]],
        **{name: facts[name] for name in names},
        "latency_s": {stage: ms / 1000 for stage, ms in answer.latency_ms.items()},
    }


def _with_id(term: Mapping[str, Any]) -> Mapping[str, Any]:
    """More like a file is more like the stored asset with its content."""
    if "like" not in term:
        return term
    from ingest import IngestConfig
    from ingest.sources.identity import content_id

    return {"asset_id": content_id(term["like"], IngestConfig()), "weight": term["weight"]}


def _hit(facts: Mapping[str, Any]) -> dict[str, Any]:
    from search.types import Hit

    hit = {field.name: facts[field.name] for field in fields(Hit)}
    return {**hit, "stack": [_hit(shot) for shot in hit["stack"]]}

"""``anymodal mcp``."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workers.cli.options import settings_options

if TYPE_CHECKING:
    from search.api.services import Services
    from search.client import AsyncAnymodal
    from search.mcp.server import Connect, Locate, Submit


@click.command()
@click.option("--server", metavar="URL", help="Use a running `anymodal serve` instead of a store.")
@click.option("--key", envvar="ANYMODAL_KEY", help="An API key for that server. [env ANYMODAL_KEY]")
@click.option(
    "--root",
    "roots",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder whose files agents may name, hidden ones excepted; may be given several times.",
)
@click.option("--http", is_flag=True, help="Serve streamable HTTP at /mcp instead of stdio.")
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="The address to listen on with --http."
)
@click.option("--port", default=8090, show_default=True, help="The port to listen on with --http.")
@settings_options("store", "model")
def mcp(
    server: str | None,
    key: str | None,
    roots: tuple[Path, ...],
    http: bool,
    host: str,
    port: int,
) -> None:
    """Serve the store to agents over the Model Context Protocol (MCP).

    Agents may read all that is stored. They add files of this machine from the folders of --root,
    and otherwise by their content. Over HTTP, requests carry API keys (`anymodal keys create`)
    where the API needs them.
    """
    from encoder.system.extras import require

    require("anymodal mcp", "mcp")
    if http and roots:
        raise click.UsageError("--root is for stdio: over HTTP, agents may be on other machines.")
    if server and http:
        _check_relay(key, host)
    locate = partial(_locate, [root.resolve() for root in roots]) if roots else None
    if server:
        _run(_remote(server, key), _upload, locate, host, port, http=http)
        return
    from workers.cli.serve import leave_soon

    with _services(host) as parts:
        _run(_here(parts), _in_place(parts), locate, host, port, http=http)
        leave_soon()


def _check_relay(key: str | None, host: str) -> None:
    """Refuse to let others act with the rights that this user has at the server."""
    from search.api.access.auth import is_loopback

    if key:
        raise click.UsageError(
            "With --http, requests carry their own keys: leave out --key and ANYMODAL_KEY."
        )
    if not is_loopback(host):
        raise click.UsageError(
            f"--host {host}: with --server, only this machine may connect. Start it without "
            "--server beside the store, where keys are checked."
        )


def _locate(folders: Sequence[Path], name: str) -> Path:
    """Where a file or folder lies that an agent names, within the folders of ``--root``.

    A hidden folder may be given, but nothing hidden within one is read.

    Raises:
        MediaError: it is missing, outside the folders, hidden, or left out by an ignore file.
    """
    from encoder.errors import MediaError
    from ingest.sources.ignored import Ignored

    try:
        path = Path(name).expanduser().resolve(strict=True)
    except (OSError, RuntimeError, ValueError):  # RuntimeError: links in a circle, or no home
        raise MediaError(f"{name} does not exist.", remedy="Give paths that exist.") from None
    root = next((root for root in folders if path.is_relative_to(root)), None)
    if root is None:
        raise MediaError(
            f"{name} is outside the folders of this server ({', '.join(map(str, folders))}).",
            remedy="Give a path within them, or have its user start it with another --root.",
        )
    if any(part.startswith(".") for part in path.relative_to(root).parts):
        raise MediaError(f"{name} is hidden.", remedy="Give a path without hidden parts.")
    if Ignored(root).has_below(str(path), is_folder=path.is_dir()):
        raise MediaError(f"{name} is left out by .anymodalignore.", remedy="Give another path.")
    return path


def _run(
    connect: Connect, submit: Submit, locate: Locate | None, host: str, port: int, *, http: bool
) -> None:
    from search.mcp.server import mcp_server, serve_http
    from workers.observe.printable import unfiltered

    agent_server = mcp_server(connect, submit if locate else None, locate)
    if http:
        serve_http(
            agent_server, host, port, lambda url: click.echo(f"Listening at {url}", err=True)
        )
    else:
        # The protocol writes bytes; what commands print goes through a text sanitizer.
        with redirect_stdout(unfiltered(sys.stdout)):
            agent_server.run("stdio")


def _remote(url: str, key: str | None) -> Connect:
    """Requests to the API at a URL, with the key of each request or else our own."""

    @asynccontextmanager
    async def connect(headers: Mapping[str, str]) -> AsyncIterator[AsyncAnymodal]:
        from search.client import AsyncAnymodal

        async with AsyncAnymodal(url, _sent_key(headers) or key) as client:
            yield client

    return connect


def _here(parts: Services) -> Connect:
    """Requests to the API in this process, without a socket."""
    import httpx2

    from search.api.app import create_app
    from search.client import AsyncAnymodal

    transport = httpx2.ASGITransport(create_app(parts), raise_app_exceptions=False)

    @asynccontextmanager
    async def connect(headers: Mapping[str, str]) -> AsyncIterator[AsyncAnymodal]:
        # Not closed: the transport is shared.
        yield AsyncAnymodal("http://localhost", _sent_key(headers), transport=transport)

    return connect


@contextmanager
def _services(host: str) -> Iterator[Services]:
    from workers.config import current_settings
    from workers.serving.composition import services
    from workers.serving.resources import Resources

    settings = current_settings()
    config = settings.api.model_copy(update={"host": host})
    resources = Resources(settings.model_copy(update={"api": config}))
    with services(resources) as parts:
        yield parts


async def _upload(client: AsyncAnymodal, paths: Sequence[Path]) -> str:
    from ingest.sources.folders import discover

    return (await client.upload(file for file in discover(paths) if file.is_file())).id


def _in_place(parts: Services) -> Submit:
    async def submit(_: AsyncAnymodal, paths: Sequence[Path]) -> str:
        from anyio import to_thread

        from search.types import IngestRequest

        return await to_thread.run_sync(
            parts.jobs.submit,
            IngestRequest([str(path) for path in paths], priority="interactive"),
        )

    return submit


def _sent_key(headers: Mapping[str, Any]) -> str | None:
    scheme, _, token = str(headers.get("authorization", "")).partition(" ")
    return token or None if scheme.lower() == "bearer" else None

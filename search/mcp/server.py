"""The tools: search, similar, get, list, ingest and job_status."""

from __future__ import annotations

import base64
import binascii
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

from mcp.server.mcpserver import Context, Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp.types import ToolAnnotations
from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails

from encoder.errors import AnymodalError
from search.client import AsyncAnymodal
from search.client.calls import SearchOptions
from search.mcp.results import (
    FoundPage,
    JobStatus,
    Listed,
    filter_help,
    found_page,
    job_status,
    shortened,
)

_READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
_ADDS = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)
# What is stored of a changed file is replaced, and files of the machine are not the library's.
_READS_FILES = ToolAnnotations(
    read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=True
)
_ABOUT = (
    "A library of texts, documents, pictures, sounds and films, searchable by meaning with any of "
    "them. `search` finds files and names the page or the second; `get` shows what is there."
)
_MOST_CHARS = 20_000
_MOST_PATH_CHARS = 4096
_SHOWS = ("image/", "video/", "application/pdf")

Connect = Callable[[Mapping[str, str]], AbstractAsyncContextManager[AsyncAnymodal]]
"""A client for a request with these headers."""
Submit = Callable[[AsyncAnymodal, Sequence[Path]], Awaitable[str]]
"""Starts to ingest files and folders on this machine; returns the job's id."""
Locate = Callable[[str], Path]
"""Where a file or folder lies that an agent names; raises AnymodalError if it may not be read."""

Filter = Annotated[dict[str, Any] | str | None, Field(description=filter_help())]
Limit = Annotated[int, Field(ge=1, le=100, description="The most results.")]
Kinds = Annotated[
    list[str], Field(description="Any of text, image, audio and video; empty for all.")
]
Cursor = Annotated[str, Field(description="`next_cursor` of the previous page.")]
Id = Annotated[
    str, Field(description="`asset_id` of a result.", pattern=r"^[A-Za-z0-9_.-]{1,128}$")
]


def mcp_server(
    connect: Connect, submit: Submit | None = None, locate: Locate | None = None
) -> MCPServer[Any]:
    """The server, for any transport."""
    tools = Tools(connect, submit, locate)
    ingest, hints = (tools.ingest, _READS_FILES) if submit else (tools.send, _ADDS)
    offered = [
        *(_strict(tool, _READS) for tool in (tools.search, tools.similar, tools.job_status)),
        _strict(tools.get, _READS, structured_output=False),
        _strict(tools.listed, _READS, name="list"),
        _strict(ingest, hints, name="ingest"),
    ]
    return MCPServer(
        "anymodal",
        instructions=_ABOUT,
        version=version("anymodal"),
        log_level="WARNING",
        tools=offered,
    )


class StrictTool(Tool):
    """A tool that refuses arguments that it does not have: a model may have misspelt one."""

    async def run(
        self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False
    ) -> Any:
        """Run the tool.

        Raises:
            ToolError: it fails, or its arguments are not those of its schema.
        """
        try:
            return await super().run(arguments, context, convert_result)
        except ToolError as error:
            if not isinstance(error.__cause__, ValidationError):
                raise
            raise ToolError("; ".join(map(self._said, error.__cause__.errors()))) from None

    def _said(self, error: ErrorDetails) -> str:
        name = ".".join(map(str, error["loc"]))
        if error["type"] == "extra_forbidden":
            return f"{self.name} has no {name!r}. Use {', '.join(self.parameters['properties'])}."
        return f"{name}: {error['msg']}."


def _strict(function: Callable[..., Any], annotations: ToolAnnotations, **options: Any) -> Tool:
    tool = StrictTool.from_function(
        function, description=inspect.getdoc(function), annotations=annotations, **options
    )
    arguments = tool.fn_metadata.arg_model
    arguments.model_config["extra"] = "forbid"
    arguments.model_rebuild(force=True)
    tool.parameters["additionalProperties"] = False
    return tool


class Tools:
    """The tools. Their docstrings are what a model reads."""

    def __init__(self, connect: Connect, submit: Submit | None, locate: Locate | None) -> None:
        self._connect = connect
        self._submit = submit
        self._locate = locate

    async def search(
        self,
        context: Context,
        text: Annotated[str, Field(description="What to find, in any language.")] = "",
        image: Annotated[
            str, Field(description="A picture to search with: Base64, or a path if paths are read.")
        ] = "",
        audio: Annotated[
            str, Field(description="A sound or speech to search with, likewise.")
        ] = "",
        like: Annotated[str, Field(description="Find files like the one with this asset_id.")] = "",
        modalities: Kinds = [],  # noqa: B006 (never changed)
        limit: Limit = 10,
        filter: Filter = None,
        cursor: Cursor = "",
    ) -> FoundPage:
        """Find files by meaning, with the page or the second of each match.

        Give one of text, image, audio and like, or several, which count together.
        """
        if not (text or image or audio or like):
            raise ToolError("Give one of text, image, audio and like.")
        media = {"image": self._content(image, "image"), "audio": self._content(audio, "audio")}
        options = _options(modalities, limit, filter, cursor)
        async with self._client(context) as client:
            answer = await client.search(text, like=like, **media, **options)
        return found_page(answer)

    async def similar(
        self,
        context: Context,
        asset_id: Id,
        modalities: Kinds = [],  # noqa: B006
        limit: Limit = 10,
        filter: Filter = None,
        cursor: Cursor = "",
    ) -> FoundPage:
        """Find files like one that is stored."""
        options = _options(modalities, limit, filter, cursor)
        async with self._client(context) as client:
            return found_page(await client.similar(asset_id, **options))

    async def get(
        self,
        context: Context,
        asset_id: Id,
        at_s: Annotated[float, Field(ge=0, description="The time in a film, in seconds.")] = 0.0,
        page: Annotated[int, Field(ge=1, description="The page of a document.")] = 1,
        start: Annotated[int, Field(ge=0, description="The first character of a text.")] = 0,
    ) -> list[Any]:
        """Show a stored file: its facts, and its text, its picture, a film's moment or a page."""
        async with self._client(context) as client:
            asset = await client.asset(asset_id)
            contents: list[Any] = [asset.model_dump_json(exclude_none=True)]
            if asset.media_type.startswith(_SHOWS):
                picture = await client.thumbnail(asset_id, at_s=at_s, page=page, size=1024)
                contents.append(Image(data=picture, format="webp"))
            elif asset.media_type.startswith("text/"):
                text = (await client.content(asset_id)).decode(errors="replace")
                contents.append(shortened(text, start, _MOST_CHARS))
        return contents

    async def listed(
        self, context: Context, limit: Limit = 50, filter: Filter = None, cursor: Cursor = ""
    ) -> Listed:
        """List stored files, with their tags and metadata."""
        async with self._client(context) as client:
            page = await client.asset_page(filter, limit=limit, cursor=cursor)
        return Listed(assets=page.assets, next_cursor=page.next_cursor, warnings=page.warnings)

    async def ingest(
        self,
        context: Context,
        paths: Annotated[list[str], Field(min_length=1, description="Files and folders.")],
    ) -> JobStatus:
        """Make files and folders of this machine searchable; they stay where they are.

        Only those in the folders that the server was started for; hidden ones are refused.
        """
        assert self._submit is not None
        files = [self._located(path) for path in paths]
        async with self._client(context) as client:
            job_id = await self._submit(client, files)
            return job_status(await client.job(job_id))

    async def send(
        self,
        context: Context,
        name: Annotated[str, Field(min_length=1, description="The file's name, with its suffix.")],
        text: Annotated[str, Field(description="Its content, if it is text.")] = "",
        content: Annotated[str, Field(description="Otherwise its content in Base64.")] = "",
        tags: Annotated[list[str], Field(description="Tags to find it by.")] = [],  # noqa: B006
    ) -> JobStatus:
        """Store a file and make it searchable."""
        if bool(text) == bool(content):
            raise ToolError("Give either text or content.")
        data = text.encode() if text else _decoded(content, "content")
        async with self._client(context) as client:
            return job_status(await client.upload_bytes(name, data, tags=tags))

    async def job_status(
        self, context: Context, job_id: Annotated[str, Field(max_length=64)]
    ) -> JobStatus:
        """Show the status of an ingest job and the files that could not be read."""
        async with self._client(context) as client:
            return job_status(await client.job(job_id))

    def _client(self, context: Context) -> _Failing:
        return _Failing(self._connect(context.headers or {}))

    def _content(self, named_or_encoded: str, argument: str) -> Path | bytes | tuple[()]:
        if not named_or_encoded:
            return ()
        if self._locate is None or len(named_or_encoded) >= _MOST_PATH_CHARS:
            return _decoded(named_or_encoded, argument)
        try:  # first, since many a path is Base64 too
            return self._located(named_or_encoded)
        except ToolError as refused:
            try:
                return _decoded(named_or_encoded, argument)
            except ToolError:
                raise refused from None

    def _located(self, path_name: str) -> Path:
        assert self._locate is not None
        try:
            return self._locate(path_name)
        except AnymodalError as error:
            raise ToolError(str(error)) from None


class _Failing:
    """Shows our errors to the model, with their remedies."""

    def __init__(self, opened: AbstractAsyncContextManager[AsyncAnymodal]) -> None:
        self._opened = opened

    async def __aenter__(self) -> AsyncAnymodal:
        return await self._opened.__aenter__()

    async def __aexit__(self, error_class: Any, error: BaseException | None, trace: Any) -> None:
        await self._opened.__aexit__(error_class, error, trace)
        if isinstance(error, AnymodalError):
            raise ToolError(str(error)) from error


def _options(
    modalities: list[str], limit: int, filter: dict[str, Any] | str | None, cursor: str
) -> SearchOptions:
    options: SearchOptions = {"modalities": modalities, "limit": limit, "cursor": cursor}
    options["count"] = True
    if filter:
        options["filter"] = filter
    return options


def _decoded(encoded: str, argument: str) -> bytes:
    try:
        return base64.b64decode(encoded.partition(";base64,")[2] or encoded, validate=True)
    except (binascii.Error, ValueError):
        raise ToolError(
            f"{argument} is not Base64; paths are read only by `anymodal mcp --root FOLDER`."
        ) from None


def serve_http(
    server: MCPServer[Any], host: str, port: int, announce: Callable[[str], None]
) -> None:
    """Streamable HTTP at ``/mcp`` until SIGTERM or Ctrl-C; port 0 takes any that is free."""
    import uvicorn

    from search.api.server import listening_socket

    listener = listening_socket(host, port)
    # Without sessions any process answers any request.
    app = server.streamable_http_app(stateless_http=True, host=host)
    name = f"[{host}]" if ":" in host else host
    announce(f"http://{name}:{listener.getsockname()[1]}/mcp")
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])

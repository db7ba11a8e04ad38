"""``anymodal mcp`` as a process, with the SDK's own client."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import httpx2
import numpy as np
import pytest
from mcp import Client, StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, ImageContent, TextContent
from PIL import Image

from search.filters.tree import FIELDS
from tests.integration.test_serve import serving

ANYMODAL = Path(sys.executable).with_name("anymodal")
TOOLS = {"search", "similar", "get", "list", "ingest", "job_status"}
READING = TOOLS - {"ingest"}


@pytest.fixture(scope="module")
def library(bundle_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data folder next to it, still empty."""
    assert bundle_home.is_dir()
    folder = tmp_path_factory.mktemp("library")
    (folder / "bread.txt").write_text("Knead the dough, then bake the loaf in a hot oven.")
    rows, columns = np.mgrid[0:240, 0:320]
    sky = np.dstack([rows / 2, rows / 1.5, 255 - columns / 4]).astype(np.uint8)
    Image.fromarray(sky).save(folder / "sky.jpg")
    return folder


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    data = str(tmp_path_factory.mktemp("data"))
    return {**os.environ, "ANYMODAL_DATA": data, "ANYMODAL_ENCODER__MODEL": "bundle:english"}


Talk = Callable[[Callable[[Client], Awaitable[Any]]], Any]


@pytest.fixture(scope="module")
def over_stdio(environment: dict[str, str], library: Path) -> Talk:
    """Runs a conversation with a new server, whose agents may name files in the library."""
    arguments = ["mcp", "--root", str(library)]

    def talk(conversation: Callable[[Client], Awaitable[Any]]) -> Any:
        server = StdioServerParameters(command=str(ANYMODAL), args=arguments, env=environment)

        async def run() -> Any:
            async with Client(stdio_client(server)) as client:
                return await conversation(client)

        return asyncio.run(run())

    return talk


async def called(client: Client, tool: str, **arguments: Any) -> CallToolResult:
    result = await client.call_tool(tool, arguments)
    assert isinstance(result, CallToolResult)
    return result


async def facts(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await called(client, tool, **arguments)
    assert not result.is_error, result.content
    assert result.structured_content is not None
    return result.structured_content


async def ingested(client: Client, **arguments: Any) -> dict[str, Any]:
    job = await facts(client, "ingest", **arguments)
    while job["state"] in ("planning", "running"):
        await asyncio.sleep(0.2)
        job = await facts(client, "job_status", job_id=job["job_id"])
    return job


def text_of(result: CallToolResult) -> str:
    return "\n".join(one.text for one in result.content if isinstance(one, TextContent))


@pytest.mark.slow
def test_an_agent_ingests_finds_looks_and_is_told_its_mistakes(
    over_stdio: Talk, library: Path
) -> None:
    async def conversation(client: Client) -> None:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == TOOLS
        hints = {name: tool.annotations for name, tool in tools.items()}
        assert all(hints[name].read_only_hint for name in READING)  # type: ignore[union-attr]
        reads_files = hints["ingest"]
        assert reads_files is not None
        assert (reads_files.read_only_hint, reads_files.open_world_hint) == (False, True)
        assert reads_files.destructive_hint is True
        assert not any("\n  " in (tool.description or "") for tool in tools.values())
        help_text = json.dumps(tools["search"].input_schema)
        assert all(field in help_text for field in FIELDS)

        job = await ingested(client, paths=[str(library)])
        assert (job["ingested"], job["failed"]) == (2, 0)

        found = await facts(client, "search", text="how to bake bread", limit=1)
        (bread,) = found["results"]
        assert bread["name"] == "bread.txt"
        assert "dough" in bread["text"]
        assert bread["likely"] in ("very likely", "likely", "possible")
        assert found["judged"] is True
        assert bread["location"] == str(library / "bread.txt")
        assert "dough" in text_of(await called(client, "get", asset_id=bread["asset_id"]))

        picture = str(library / "sky.jpg")
        asked = await facts(client, "search", image=picture, modalities=["image"])
        assert asked["results"][0]["name"] == "sky.jpg"
        assert (asked["judged"], asked["results"][0]["likely"]) == (False, "")
        shown = await called(client, "get", asset_id=asked["results"][0]["asset_id"])
        (block,) = [one for one in shown.content if isinstance(one, ImageContent)]
        assert block.mime_type == "image/webp"
        assert base64.b64decode(block.data).startswith(b"RIFF")

        near = await facts(client, "similar", asset_id=bread["asset_id"])
        assert [one["name"] for one in near["results"]] == ["sky.jpg"]
        only = {"field": "modality", "eq": "image"}
        listed = await facts(client, "list", filter=only)
        assert [one["name"] for one in listed["assets"]] == ["sky.jpg"]

        for tool, words in (("search", {"text": "sea"}), ("list", {})):
            answer = await facts(client, tool, **words, filter="modality = imgae")
            assert "image" in answer["warnings"][0]

        wrong = await called(client, "search", text="sea", filter={"field": "colour", "eq": "red"})
        assert wrong.is_error
        assert "colour" in text_of(wrong)
        misspelt = await called(client, "search", text="sea", limits=3)
        assert misspelt.is_error
        assert "limits" in text_of(misspelt)
        assert "limit," in text_of(misspelt)
        nothing = await called(client, "search")
        assert nothing.is_error
        assert "Give one of text, image, audio and like." in text_of(nothing)
        missing = await called(client, "get", asset_id="none")
        assert missing.is_error
        assert "Use an id from a search." in text_of(missing)
        gone = await called(client, "ingest", paths=[str(library / "none")])
        assert gone.is_error
        assert "Give paths that exist" in text_of(gone)
        garbled = await called(client, "search", audio="not base64!")
        assert "does not exist" in text_of(garbled)

    over_stdio(conversation)


SECRET = "the password of the harbour office"


@pytest.mark.slow
@pytest.mark.parametrize("where", ["in place", "at a server"])
def test_a_misled_agent_reads_nothing_but_its_folders(
    environment: dict[str, str], tmp_path: Path, where: str
) -> None:
    """Whatever it names and however, no secret gets into the store or out of the machine."""
    root = tmp_path / "root"
    for folder in ("root/.ssh", "root/deep/.git", "root/left", "root/ok", "outside"):
        (tmp_path / folder).mkdir(parents=True)
    secrets = ["root/.ssh/id.txt", "root/.env.txt", "root/deep/.git/a.txt", "outside/b.txt"]
    for name in (*secrets, "root/left/c.txt"):
        (tmp_path / name).write_text(SECRET)
    (root / ".anymodalignore").write_text("left/\n")
    (root / "ok" / "d.txt").write_text("Ships wait for the tide.")
    with ZipFile(root / "ok" / "e.zip", "w") as archive:
        for name in (".ssh/id_rsa", "a/.env.txt", "keys/id_rsa", "keys/.git/x.txt"):
            archive.writestr(name, SECRET)
        archive.writestr("f.txt", "Gulls follow the ferry.")
    (root / "link.txt").symlink_to(tmp_path / "outside/b.txt")
    (root / "folder").symlink_to(tmp_path / "outside")
    (root / "seen.txt").symlink_to(root / ".env.txt")
    named = [
        *(tmp_path / name for name in secrets),
        root / "left/c.txt",
        root / "left",
        root / ".ssh",
        root / "ok/e.zip!/keys/id_rsa",
    ]
    named += [root / "link.txt", root / "folder", root / "folder/b.txt", root / "seen.txt"]
    named += [root / "../outside/b.txt", Path("/etc/passwd"), Path("/proc/self/environ"), Path("/")]

    async def talk(arguments: list[str]) -> None:
        server = StdioServerParameters(command=str(ANYMODAL), args=arguments, env=alone)
        async with Client(stdio_client(server)) as client:
            for path in named:
                for tool, asked in (
                    ("ingest", {"paths": [str(path)]}),
                    ("search", {"image": str(path)}),
                ):
                    assert (await called(client, tool, **asked)).is_error, path
            job = await ingested(client, paths=[str(root)])
            assert job["ingested"] == 2
            listed = await facts(client, "list")
            assert sorted(one["name"] for one in listed["assets"]) == ["d.txt", "f.txt"]
            found = await facts(client, "search", text="ships", limit=1)
            assert found["results"][0]["name"] == "d.txt"

    alone = {**environment, "ANYMODAL_STORE": "memory:"}
    if where == "in place":
        asyncio.run(talk(["mcp", "--root", str(root)]))
        return
    with serving(tmp_path, **alone) as (_, api):
        asyncio.run(talk(["mcp", "--root", str(root), "--server", str(api.base_url)]))


@pytest.mark.slow
def test_requests_over_http_bring_their_key(environment: dict[str, str], tmp_path: Path) -> None:
    guarded = {**environment, "ANYMODAL_API__REQUIRE_KEY": "true", "ANYMODAL_STORE": "memory:"}
    command = [str(ANYMODAL), "keys", "create", "agent", "--scope", "read", "--scope", "write"]
    made = subprocess.run(command, env=guarded, capture_output=True, text=True, check=True)
    key = json.loads(made.stdout)["key"]

    async def talk(url: str) -> None:
        with_key = httpx2.AsyncClient(headers={"Authorization": f"Bearer {key}"}, timeout=60)
        async with with_key, Client(streamable_http_client(url, http_client=with_key)) as client:
            assert {tool.name for tool in (await client.list_tools()).tools} == TOOLS
            job = await ingested(client, name="loaf.txt", text="Knead the dough.", tags=["food"])
            assert job["ingested"] == 1
            found = await facts(client, "search", text="bread", limit=1)
            assert found["results"][0]["tags"] == ["food"]
            path = await called(client, "search", image="/etc/hostname")
            assert "--root" in text_of(path)  # a path on the client's machine
            assert (await called(client, "ingest", paths=["/etc/hostname"])).is_error
        async with Client(url) as client:
            refused = await called(client, "search", text="bread")
            assert refused.is_error
            assert "No key was sent." in text_of(refused)

    with serving(tmp_path, command=(ANYMODAL, "mcp", "--http"), **guarded) as (_, server):
        asyncio.run(talk(str(server.base_url).rstrip("/")))


@pytest.mark.parametrize(
    ("options", "said"),
    [(["--key", "lent"], "leave out --key"), (["--host", "0.0.0.0"], "this machine")],
)
def test_a_relay_lends_nobody_its_rights(options: list[str], said: str) -> None:
    command = [str(ANYMODAL), "mcp", "--http", "--server", "http://127.0.0.1:1", *options]
    ended = subprocess.run(command, capture_output=True, text=True)

    assert ended.returncode == 2
    assert said in " ".join(ended.stderr.split())


def test_nobody_can_reach_it_from_elsewhere_without_a_key(tmp_path: Path) -> None:
    command = [str(ANYMODAL), "mcp", "--http", "--host", "0.0.0.0", "--port", "0"]
    alone = {"ANYMODAL_DATA": str(tmp_path), "ANYMODAL_STORE": "memory:"}
    ended = subprocess.run(command, env=os.environ | alone, capture_output=True, text=True)

    assert ended.returncode == 2
    assert "anymodal keys create" in ended.stderr

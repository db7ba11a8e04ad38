"""The asynchronous client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Unpack

import anyio
import httpx2
from pydantic_core import to_json

from encoder.errors import AnymodalError
from search.api.schemas import (
    AssetOut,
    AssetsAnswer,
    Cancelled,
    HitOut,
    InfoAnswer,
    JobOut,
    JobsAnswer,
    SearchAnswer,
)
from search.client import calls
from search.client.calls import (
    ApiCall,
    Progress,
    SearchOptions,
    Several,
    T,
    arguments_of,
    check,
    client_settings,
    escaped,
    reaching,
    several,
    wait_s,
)
from search.client.errors import ServerError
from search.client.notebook import MOST_SHOWN, Shown, is_card, without_picture
from search.types import Prune

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_POLL_S = 0.5


class AsyncAnymodal:
    """A client of `anymodal serve` for an event loop; close it, or use it in ``async with``.

    Args:
        url: of the server.
        key: made by ``anymodal keys create``; None where none is needed.
        retries: how often a request that may succeed later is sent again.
        timeout_s: the longest silence of the server.
        transport: one of httpx2's, instead of the network.

    >>> client = AsyncAnymodal("http://127.0.0.1:8080")
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8080",
        key: str | None = None,
        *,
        retries: int = 3,
        timeout_s: float = 60.0,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        settings = client_settings(url, key, timeout_s)
        self._client = httpx2.AsyncClient(**settings, transport=transport)
        self._retries = retries

    async def __aenter__(self) -> AsyncAnymodal:
        return self

    async def __aexit__(
        self,
        error_class: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def search(
        self,
        text: str | Sequence[str] = "",
        *,
        image: Several = (),
        audio: Several = (),
        video: Several = (),
        like: str | Sequence[str] = (),
        **options: Unpack[SearchOptions],
    ) -> SearchAnswer:
        """The assets nearest to all of the inputs together.

        Args:
            text: a text, or several.
            image: a file by its path, or its bytes; or several.
            audio: likewise.
            video: likewise.
            like: ids of stored assets: more like these.
            **options: see `SearchOptions` and docs/api.md.

        Raises:
            ServerError: the server refused or failed; see its subclasses.
            UnreachableError: no server answers.
        """
        media = {"image": image, "audio": audio, "video": video}
        return await self._send(calls.search(text, media, like, options))

    async def hits(
        self,
        text: str | Sequence[str] = "",
        *,
        image: Several = (),
        audio: Several = (),
        video: Several = (),
        like: str | Sequence[str] = (),
        **options: Unpack[SearchOptions],
    ) -> AsyncIterator[HitOut]:
        """All hits, page by page; see `search`."""
        media = {"image": image, "audio": audio, "video": video}
        while True:
            page = await self._send(calls.search(text, media, like, options))
            for hit in page.hits:
                yield hit
            if not page.next_cursor:
                return
            options["cursor"] = page.next_cursor

    async def similar(self, asset_id: str, **options: Unpack[SearchOptions]) -> SearchAnswer:
        """More like a stored asset."""
        return await self._send(calls.search("", {}, asset_id, options))

    async def embed(
        self,
        inputs: Mapping[str, str] | Sequence[str | Mapping[str, str]],
        *,
        input_type: str = "document",
    ) -> npt.NDArray[np.float32]:
        """Embeddings [n, embed_dim] of texts, or of objects such as ``{"image": BASE64}``."""
        return await self._send(calls.embeddings(inputs, input_type))

    async def assets(
        self, filter: Mapping[str, Any] | str | None = None
    ) -> AsyncIterator[AssetOut]:
        """All assets that match a filter, in the order of their ids."""
        cursor = ""
        while True:
            page = await self.asset_page(filter, limit=500, cursor=cursor)
            for asset in page.assets:
                yield asset
            if not page.next_cursor:
                return
            cursor = page.next_cursor

    async def asset_page(
        self, filter: Mapping[str, Any] | str | None = None, *, limit: int = 50, cursor: str = ""
    ) -> AssetsAnswer:
        """A page of assets, in the order of their ids."""
        params: dict[str, str | int] = {"limit": limit, "cursor": cursor}
        if filter:
            params["filter"] = filter if isinstance(filter, str) else to_json(filter).decode()
        read = AssetsAnswer.model_validate_json
        return await self._send(ApiCall("GET", "/v1/assets", read, params))

    async def asset(self, asset_id: str) -> AssetOut:
        """What is known about an asset. Raises MissingError."""
        path = f"/v1/assets/{escaped(asset_id)}"
        return await self._send(ApiCall("GET", path, AssetOut.model_validate_json))

    async def tag(
        self, asset_id: str, *, add: Sequence[str] = (), remove: Sequence[str] = ()
    ) -> AssetOut:
        """Change the tags of an asset. Raises MissingError."""
        path = f"/v1/assets/{escaped(asset_id)}"
        change = {"add_tags": several(add), "remove_tags": several(remove)}
        return await self._send(ApiCall("PATCH", path, AssetOut.model_validate_json, json=change))

    async def delete(self, asset_id: str) -> None:
        """Delete an asset. Raises MissingError."""
        await self._send(ApiCall("DELETE", f"/v1/assets/{escaped(asset_id)}", bytes))

    async def content(self, asset_id: str) -> bytes:
        """The file of an asset, in memory."""
        return await self._send(ApiCall("GET", f"/v1/assets/{escaped(asset_id)}/content", bytes))

    async def download(self, asset_id: str, to: str | Path) -> None:
        """Stream the file of an asset to a path, which exists once the file is complete."""
        path = f"/v1/assets/{escaped(asset_id)}/content"
        partial = Path(f"{to}.part")
        async with self._client.stream("GET", path) as answer:
            if answer.is_error:
                await answer.aread()
                check(answer)
            with partial.open("wb") as file:
                async for data in answer.aiter_bytes():
                    file.write(data)
        partial.replace(to)

    async def passage(self, hit: HitOut) -> str:
        """The text of a hit: in full if its file is plain text, else its snippet."""
        if hit.media_type != "text/plain" or hit.char_end is None:
            return hit.snippet
        return calls.whole_passage(hit, (await self.content(hit.asset_id)).decode(errors="replace"))

    async def thumbnail(
        self, asset_id: str, *, at_s: float = 0.0, page: int = 1, size: int = 320
    ) -> bytes:
        """A small WebP of a picture, a film at a given time, or a page. Raises MissingError."""
        path = f"/v1/assets/{escaped(asset_id)}/thumbnail"
        return await self._send(
            ApiCall("GET", path, bytes, {"t": at_s, "page": page, "size": size})
        )

    async def show(self, answer: SearchAnswer, *, size: int = 160) -> Shown:
        """The first hits of an answer with their pictures, which a notebook displays."""
        hits = answer.hits[:MOST_SHOWN]
        pictures = [await self._picture(hit, size) for hit in hits]
        return Shown(hits, pictures, size)

    async def _picture(self, hit: HitOut, size: int) -> bytes | None:
        page = int(hit.place.get("page", 1))
        try:
            picture = await self.thumbnail(
                hit.asset_id, at_s=hit.start_s or 0.0, page=page, size=size
            )
            return None if is_card(picture) else picture
        except ServerError as error:
            if without_picture(error):
                return None
            raise

    async def upload(
        self,
        paths: str | Path | Iterable[str | Path],
        *,
        tags: Sequence[str] = (),
        metadata: Mapping[str, Any] | None = None,
        on_progress: Progress | None = None,
    ) -> JobOut:
        """Send files to be ingested.

        Args:
            paths: files on this machine, or one; each is read while it is sent.
            tags: for all of them.
            metadata: likewise.
            on_progress: called with the bytes sent and the bytes of all files.
        """
        return await self._send(calls.upload(paths, tags, metadata, on_progress))

    async def upload_bytes(
        self,
        name: str,
        data: bytes,
        *,
        tags: Sequence[str] = (),
        metadata: Mapping[str, Any] | None = None,
    ) -> JobOut:
        """Send one file from memory to be ingested."""
        parts: list[calls.FilePart] = [("file", (name, data))]
        return await self._send(calls.sent_files(lambda: parts, tags, metadata))

    async def job(self, job_id: str) -> JobOut:
        """The status of a job. Raises MissingError."""
        path = f"/v1/jobs/{escaped(job_id)}"
        return await self._send(ApiCall("GET", path, JobOut.model_validate_json))

    async def wait(self, job_id: str) -> JobOut:
        """Wait until a job ends; return its status."""
        while True:
            job = await self.job(job_id)
            if job.state in ("done", "cancelled", "failed"):
                return job
            await anyio.sleep(_POLL_S)

    async def ingest(
        self,
        *sources: str,
        prune: Prune = False,
        kinds: Sequence[str] = (),
    ) -> JobOut:
        """Have the server ingest URLs such as ``s3://bucket/folder/``, if it allows them.

        Raises:
            AccessError: it does not allow them.
        """
        request = {"sources": list(sources), "prune": prune, "kinds": several(kinds)}
        return await self._send(ApiCall("POST", "/v1/jobs", calls.read_job, json=request))

    async def jobs(self) -> list[JobOut]:
        """The last jobs, newest first."""
        answer = await self._send(ApiCall("GET", "/v1/jobs", JobsAnswer.model_validate_json))
        return answer.jobs

    async def cancel(self, job_id: str) -> bool:
        """Drop what a job has not begun; False if nothing was left. Raises MissingError."""
        path = f"/v1/jobs/{escaped(job_id)}"
        answer = await self._send(ApiCall("DELETE", path, Cancelled.model_validate_json))
        return answer.cancelled

    async def info(self) -> InfoAnswer:
        """The model, the store and versions."""
        return await self._send(ApiCall("GET", "/v1/info", InfoAnswer.model_validate_json))

    async def _send(self, call: ApiCall[T]) -> T:
        """The answer; a call that may succeed later is repeated."""
        attempt = 0
        while True:
            attempt += 1
            try:
                with reaching(self._client.base_url):
                    answer = await self._client.request(
                        call.method, call.path, **arguments_of(call)
                    )
                check(answer)
                return call.read(answer.content)
            except AnymodalError as error:
                rest_s = wait_s(error, attempt, self._retries)
                if rest_s is None:
                    raise
            await anyio.sleep(rest_s)

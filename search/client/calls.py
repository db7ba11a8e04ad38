"""What is sent for each operation, and how its answer is read; no I/O."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypedDict, TypeVar
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel
from pydantic_core import from_json, to_json

from search.api.schemas import (
    AssetOut,
    AssetsAnswer,
    Cancelled,
    HitOut,
    InfoAnswer,
    JobOut,
    JobsAnswer,
    SearchAnswer,
    UploadAnswer,
)
from search.client.files import FileToSend, Progress, Sent
from search.types import Prune

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
Content = str | Path | bytes
"""A file by its path, or its bytes."""
Several = Content | Sequence[Content]
FilePart = tuple[str, tuple[str, "bytes | FileToSend"]]


class SearchOptions(TypedDict, total=False):
    """Fields of a search besides what is searched with; see docs/api.md."""

    modalities: Sequence[str]
    limit: int
    filter: Mapping[str, Any]
    quotas: Mapping[str, int]
    score_threshold: float
    group_by: Literal["asset", "segment"]
    mix: Literal["turns", "score"]
    moments: int
    diversity: float
    lexical: bool
    consistency: Literal["session", "strong"]
    cursor: str
    explain: bool
    understand: bool | list[str]
    sort: str
    rerank: bool


@dataclass(frozen=True)
class ApiCall(Generic[T]):
    """One request, which can be sent again for a retry."""

    method: str
    path: str
    read: Callable[[bytes], T]
    params: Mapping[str, str | int | float] = field(default_factory=dict)
    json: Any = None
    fields: Mapping[str, str | list[str]] = field(default_factory=dict)
    files: Callable[[], list[FilePart]] | None = None
    """Makes the files of a form, again for each attempt."""


def search(
    text: str | Sequence[str],
    media: Mapping[str, Several],
    like: str | Sequence[str],
    options: SearchOptions,
) -> ApiCall[SearchAnswer]:
    """A search with any combination of these; ``media`` are files by modality."""
    terms: list[dict[str, Any]] = [{"text": value} for value in _several(text)]
    terms += [{"asset_id": value} for value in _several(like)]
    contents: dict[str, Content] = {}
    for modality, files in media.items():
        for content in _several(files):
            name = f"file{len(contents)}"
            contents[name] = content
            terms.append({modality: {"file": name}})
    request = {"query": terms, **options}
    read = _model(SearchAnswer)
    if not contents:
        return ApiCall("POST", "/v1/search", read, json=request)
    return ApiCall(
        "POST",
        "/v1/search",
        read,
        fields={"request": to_json(request).decode()},
        files=lambda: [_part(name, value) for name, value in contents.items()],
    )


def embeddings(
    inputs: Mapping[str, str] | Sequence[str | Mapping[str, str]], input_type: str
) -> ApiCall[npt.NDArray[np.float32]]:
    """Embeddings [n, embed_dim] of texts, or of objects with Base64 media."""
    request = {"input": _several(inputs), "input_type": input_type, "encoding_format": "base64"}
    return ApiCall("POST", "/v1/embeddings", _vectors, json=request)


def upload(
    paths: str | Path | Iterable[str | Path],
    tags: Sequence[str],
    metadata: Mapping[str, Any],
    on_progress: Progress | None,
) -> ApiCall[JobOut]:
    """Files in, a job out. Sending them again does no harm: they are identified by content."""
    files = [Path(path) for path in _several(paths)]
    total = sum(path.stat().st_size for path in files)

    def parts() -> list[FilePart]:
        sent = Sent(total, on_progress)
        return [("file", (path.name, FileToSend(path, sent))) for path in files]

    return _upload(parts, tags, metadata)


def upload_bytes(
    name: str, data: bytes, tags: Sequence[str], metadata: Mapping[str, Any]
) -> ApiCall[JobOut]:
    """One file from memory."""
    return _upload(lambda: [("file", (name, data))], tags, metadata)


def assets(filter: Mapping[str, Any] | None, limit: int, cursor: str) -> ApiCall[AssetsAnswer]:
    """A page of assets."""
    params: dict[str, str | int | float] = {"limit": limit, "cursor": cursor}
    if filter:
        params["filter"] = to_json(filter).decode()
    return ApiCall("GET", "/v1/assets", _model(AssetsAnswer), params)


def asset(asset_id: str) -> ApiCall[AssetOut]:
    """What is known about an asset."""
    return ApiCall("GET", f"/v1/assets/{_escaped(asset_id)}", _model(AssetOut))


def tag(asset_id: str, add: Sequence[str], remove: Sequence[str]) -> ApiCall[AssetOut]:
    """Change the tags of an asset."""
    change = {"add_tags": _several(add), "remove_tags": _several(remove)}
    return ApiCall("PATCH", f"/v1/assets/{_escaped(asset_id)}", _model(AssetOut), json=change)


def delete(asset_id: str) -> ApiCall[None]:
    """Delete an asset."""
    return ApiCall("DELETE", f"/v1/assets/{_escaped(asset_id)}", lambda _: None)


def content(asset_id: str) -> ApiCall[bytes]:
    """The file of an asset, whole."""
    return ApiCall("GET", f"/v1/assets/{_escaped(asset_id)}/content", bytes)


def thumbnail(asset_id: str, at_s: float, page: int, size: int) -> ApiCall[bytes]:
    """A WebP preview of an asset."""
    params = {"t": at_s, "page": page, "size": size}
    return ApiCall("GET", f"/v1/assets/{_escaped(asset_id)}/thumbnail", bytes, params)


def job(job_id: str) -> ApiCall[JobOut]:
    """The status of a job."""
    return ApiCall("GET", f"/v1/jobs/{_escaped(job_id)}", _model(JobOut))


def ingest(sources: Sequence[str], prune: Prune, kinds: Sequence[str]) -> ApiCall[JobOut]:
    """URLs in, a job out."""
    read = _model(UploadAnswer)
    request = {"sources": _several(sources), "prune": prune, "kinds": _several(kinds)}
    return ApiCall("POST", "/v1/jobs", lambda data: read(data).job, json=request)


def jobs() -> ApiCall[list[JobOut]]:
    """The last jobs."""
    read = _model(JobsAnswer)
    return ApiCall("GET", "/v1/jobs", lambda data: read(data).jobs)


def cancel(job_id: str) -> ApiCall[bool]:
    """Whether there was anything left to cancel."""
    read = _model(Cancelled)
    return ApiCall("DELETE", f"/v1/jobs/{_escaped(job_id)}", lambda data: read(data).cancelled)


def info() -> ApiCall[InfoAnswer]:
    """The model, the store and versions."""
    return ApiCall("GET", "/v1/info", _model(InfoAnswer))


def _upload(
    parts: Callable[[], list[FilePart]], tags: Sequence[str], metadata: Mapping[str, Any]
) -> ApiCall[JobOut]:
    fields: dict[str, str | list[str]] = {"tags": _several(tags)} if tags else {}
    if metadata:
        fields["metadata"] = to_json(metadata).decode()
    read = _model(UploadAnswer)
    return ApiCall("POST", "/v1/assets", lambda body: read(body).job, fields=fields, files=parts)


def _model(model: type[M]) -> Callable[[bytes], M]:
    return model.model_validate_json


def _vectors(data: bytes) -> npt.NDArray[np.float32]:
    entries = sorted(from_json(data)["data"], key=lambda entry: entry["index"])
    raw = [base64.b64decode(entry["embedding"]) for entry in entries]
    return np.stack([np.frombuffer(data_of_row, "<f4") for data_of_row in raw])


def _escaped(name: str) -> str:
    """An id as one piece of a path, whatever is in it.

    >>> _escaped("../jobs?all"), _escaped("..")
    ('..%2Fjobs%3Fall', '%2E%2E')
    """
    return quote(name, safe="") if name.strip(".") else name.replace(".", "%2E")


def _several(values: Any) -> list[Any]:
    """A list of values; a single one is not split into its characters, bytes or keys."""
    if isinstance(values, str | Path | bytes | Mapping):
        return [values] if values else []
    return list(values)


def _part(name: str, content: Content) -> FilePart:
    if isinstance(content, bytes):
        return name, (name, content)
    return name, (Path(content).name, FileToSend(Path(content), Sent(0)))


def whole_passage(hit: HitOut, text: str) -> str:
    """The segment of a hit in the text of its file; its snippet if that is not found there.

    Args:
        hit: a hit in a text file.
        text: the file's, as sent by the server; a different encoding shifts its characters.
    """
    passage = text[hit.char_start or 0 : hit.char_end]
    return passage if hit.snippet.strip("…") in passage else hit.snippet

"""What is sent for each operation, and how its answer is read; no I/O."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Generic, Literal, TypedDict, TypeVar
from urllib.parse import quote

import httpx2
from pydantic import BaseModel
from pydantic_core import from_json, to_json

from encoder.errors import AnymodalError
from encoder.system.backoff import backoff_s
from search.api.schemas import (
    HitOut,
    JobOut,
    SearchAnswer,
    UploadAnswer,
)
from search.client.errors import BusyError, UnreachableError, error_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Progress = Callable[[int, int], None]
"""Called with the bytes sent so far and the bytes of all files."""


@dataclass
class Sent:
    """How much of a request's files has been read for sending."""

    total: int
    on_progress: Progress | None = None
    n_bytes: int = 0

    def add(self, n_bytes: int) -> None:
        """Count them, and report."""
        self.n_bytes += n_bytes
        if self.on_progress and n_bytes:
            self.on_progress(self.n_bytes, self.total)


class FileToSend:
    """A file that is open only while it is read: a request can have a thousand.

    It has what `httpx2` needs from a file: a length by seeking, and reading from the start.
    """

    def __init__(self, path: Path, sent: Sent) -> None:
        self._path = path
        self._sent = sent
        self._at = 0
        self._file: BinaryIO | None = None

    def tell(self) -> int:
        """The position."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to ``offset`` from the start or the end."""
        self._close()
        self._at = offset + (self._path.stat().st_size if whence == os.SEEK_END else 0)
        return self._at

    def read(self, size: int = -1) -> bytes:
        """The next bytes; empty at the end, which closes the file."""
        if self._file is None:
            self._file = self._path.open("rb")
            self._file.seek(self._at)
        data = self._file.read(size)
        self._at += len(data)
        self._sent.add(len(data))
        if not data:
            self._close()
        return data

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
Content = str | Path | bytes
"""A file by its path, or its bytes."""
Several = Content | Sequence[Content]
FilePart = tuple[str, tuple[str, "bytes | FileToSend"]]


class SearchOptions(TypedDict, total=False):
    """Fields of a search besides what is searched with; see docs/api.md.

    ``terms`` are further inputs with weights, such as ``{"image": PATH, "weight": 0.5}``.
    """

    terms: Sequence[Mapping[str, Any]]
    modalities: Sequence[str]
    limit: int
    filter: Mapping[str, Any] | str
    quotas: Mapping[str, int]
    score_threshold: float
    group_by: Literal["asset", "segment"]
    moments: int
    diversity: float
    lexical: bool
    consistency: Literal["session", "strong"]
    cursor: str
    explain: bool
    understand: bool | list[str]
    only: list[str]
    sort: str
    count: bool
    rerank: bool
    stacks: bool


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
    terms: list[dict[str, Any]] = [{"text": value} for value in several(text)]
    terms += [{"asset_id": value} for value in several(like)]
    for modality, files in media.items():
        paths = [Path(file) if isinstance(file, str) else file for file in several(files)]
        terms += [{modality: content} for content in paths]
    terms += map(dict, options.get("terms", ()))
    contents: dict[str, Path | bytes] = {}
    for term in terms:
        for kind, content in term.items():
            if isinstance(content, Path | bytes):
                name = f"file{len(contents)}"
                contents[name] = content
                term[kind] = name if kind == "file" else {"file": name}
    request = {**options, "query": terms}
    request.pop("terms", None)
    read = SearchAnswer.model_validate_json
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
    request = {"input": several(inputs), "input_type": input_type, "encoding_format": "base64"}
    return ApiCall("POST", "/v1/embeddings", _vectors, json=request)


def upload(
    paths: str | Path | Iterable[str | Path],
    tags: Sequence[str],
    metadata: Mapping[str, Any] | None,
    on_progress: Progress | None,
) -> ApiCall[JobOut]:
    """Files in, a job out. Sending them again does no harm: they are identified by content."""
    files = [Path(path) for path in several(paths)]
    total = sum(path.stat().st_size for path in files)

    def parts() -> list[FilePart]:
        sent = Sent(total, on_progress)
        return [("file", (path.name, FileToSend(path, sent))) for path in files]

    return sent_files(parts, tags, metadata)


def read_job(body: bytes) -> JobOut:
    """The job of an upload's answer."""
    return UploadAnswer.model_validate_json(body).job


def sent_files(
    parts: Callable[[], list[FilePart]], tags: Sequence[str], metadata: Mapping[str, Any] | None
) -> ApiCall[JobOut]:
    """Files to ingest, which ``parts`` makes for each attempt."""
    fields: dict[str, str | list[str]] = {"tags": several(tags)} if tags else {}
    if metadata:
        fields["metadata"] = to_json(metadata).decode()
    return ApiCall("POST", "/v1/assets", read_job, fields=fields, files=parts)


def _vectors(data: bytes) -> npt.NDArray[np.float32]:
    import numpy as np

    entries = sorted(from_json(data)["data"], key=lambda entry: entry["index"])
    raw = [base64.b64decode(entry["embedding"]) for entry in entries]
    return np.stack([np.frombuffer(data_of_row, "<f4") for data_of_row in raw])


def escaped(name: str) -> str:
    """An id as one piece of a path, whatever is in it.

    >>> escaped("../jobs?all"), escaped("..")
    ('..%2Fjobs%3Fall', '%2E%2E')
    """
    return quote(name, safe="") if name.strip(".") else name.replace(".", "%2E")


def several(values: Any) -> list[Any]:
    """A list of values; a single one is not split into its characters, bytes or keys."""
    if isinstance(values, str | Path | bytes | Mapping):
        return [values] if values else []
    return list(values)


def _part(name: str, content: Path | bytes) -> FilePart:
    if isinstance(content, bytes):
        return name, (name, content)
    return name, (content.name, FileToSend(content, Sent(0)))


def whole_passage(hit: HitOut, text: str) -> str:
    """The segment of a hit in the text of its file; its snippet if that is not found there."""
    passage = text[hit.char_start or 0 : hit.char_end]
    return passage if hit.snippet.strip("…") in passage else hit.snippet


def client_settings(url: str, key: str | None, timeout_s: float) -> dict[str, Any]:
    """Arguments of both of httpx2's clients."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return {"base_url": url, "headers": headers, "timeout": timeout_s}


def check(answer: httpx2.Response) -> None:
    """Raise the error of an answer whose body was read."""
    if answer.is_error:
        after = answer.headers.get("retry-after", "")
        raise error_of(answer.status_code, answer.content, after)


@contextmanager
def reaching(url: object) -> Iterator[None]:
    """Turns httpx2's errors into `UnreachableError`."""
    try:
        yield
    except httpx2.TransportError as error:
        raise UnreachableError(
            f"No answer from {url}: {error or type(error).__name__}.",
            "Check the URL, and that `anymodal serve` runs there.",
        ) from error


def arguments_of(call: ApiCall[Any]) -> dict[str, Any]:
    """What httpx2 takes for a call besides its method and path."""
    arguments: dict[str, Any] = {"params": dict(call.params)}
    if call.json is not None:
        arguments["json"] = call.json
    if call.files is not None:
        arguments |= {"data": dict(call.fields), "files": call.files()}
    return arguments


def wait_s(error: AnymodalError, attempt: int, retries: int) -> float | None:
    """Seconds until the next attempt; None to give up.

    >>> wait_s(BusyError("busy", status=429, retry_after_s=7.0), 1, 3)
    7.0
    >>> wait_s(BusyError("a deadline passed", status=504), 1, 3) is None
    True
    """
    if attempt > retries or not _is_worth_it(error):
        return None
    return backoff_s(attempt, getattr(error, "retry_after_s", None))


def _is_worth_it(error: AnymodalError) -> bool:
    """Not after a deadline: the same request would take as long again."""
    if isinstance(error, BusyError):
        return error.status in (429, 503)
    return isinstance(error, UnreachableError)

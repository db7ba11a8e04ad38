"""What the API needs from the rest of the system; `workers.serving.composition` provides it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from encoder.types import Item, Modality, Role
from search.deadline import Deadline
from search.query.query import Query
from search.types import Labels, SearchResult


class RemoteFile(Protocol):
    """A file on another server, with the content of an asset."""

    @property
    def size_bytes(self) -> int:
        """Its size."""

    def pieces(self, start: int, end: int) -> Iterator[bytes]:
        """The bytes from ``start`` to before ``end``, read as they are asked for."""


class Decoder(Protocol):
    """Decodes untrusted files."""

    def decode(self, modality: Modality, data: bytes, label: str) -> Item:
        """A picture, sound or film as an item to encode; ``label`` names it in errors.

        Raises:
            MediaError: it is not of this modality, corrupt, or over a limit.
        """

    def decode_file(self, kind: str, data: bytes, name: str, label: str) -> Item:
        """A whole file of any kind as an item to encode.

        Args:
            kind: the kind of file; empty to detect it.
            data: its bytes.
            name: the client's name for it.
            label: its name in errors.

        Raises:
            InputError: there is no such kind; the error names those that exist.
            MediaError: it is not of this kind, corrupt, or over a limit.
        """

    def decode_url(self, kind: str, url: str, label: str) -> Item:
        """As `decode_file`, for a file to be fetched.

        Raises:
            InputError: there is no such kind, or the URL is not http(s).
            MediaError: it may not or cannot be fetched, or as in `decode_file`.
        """

    def picture(self, path: Path, media_type: str, at_s: float, page: int, size: int) -> bytes:
        """A small WebP preview of a file: of a film, at a given time; of a document, one page.

        Args:
            path: the file.
            media_type: as it was ingested.
            at_s: seconds from the film's start.
            page: of a document, from 1.
            size: the longer side, in pixels.

        Raises:
            UnsupportedMediaError: it has nothing to show.
            MediaError: it cannot be decoded.
        """

    def unpacked(self, location: str, asset_id: str) -> AbstractContextManager[Path]:
        """A file in an archive, in a temporary folder for the length of the block.

        Args:
            location: as stored; the decoder knows where the archive's path ends.
            asset_id: the hash that its content has to have.

        Raises:
            MediaError: it is gone or has changed.
        """

    def remote(self, location: str, metadata: Labels) -> RemoteFile | None:
        """The file at a location of an object store; None if it is not what was stored.

        Args:
            location: a location of the asset.
            metadata: the asset's.
        """

    def copied(self, location: str, metadata: Labels) -> AbstractContextManager[Path]:
        """A copy of the file at a location, in a temporary folder for the length of the block.

        Raises:
            MediaError: it is gone, has changed or is too large.
        """

    def charset(self, path: Path, media_type: str) -> str:
        """The Python codec that ingest used to decode a text file.

        Raises:
            MediaError: it cannot be read.
        """


class Searches(Protocol):
    """Answers queries, in one process or in several."""

    @property
    def n_more(self) -> int:
        """The most processes beside this one."""

    def search(self, query: Query, deadline: Deadline) -> SearchResult:
        """See `search.engine.SearchEngine.search`."""

    def close(self) -> None:
        """End the processes and the threads of the engine."""


class TokenReader(Protocol):
    """How the model reads texts, and which shorter embeddings it has."""

    @property
    def cuts(self) -> Sequence[int]:
        """Dimensions that an embedding may be cut to (Matryoshka); mostly none."""

    def window_lengths(self, text: str, role: Role) -> list[int]:
        """The tokens of each window in which a text is encoded, with special tokens and prompt."""

    def text_of_tokens(self, ids: Sequence[int]) -> str:
        """The text that token ids of the model stand for.

        Raises:
            InputError: they are not what its tokenizer makes of a text.
        """

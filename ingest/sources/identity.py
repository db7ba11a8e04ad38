"""Identify a file: its kind, and the hash of its content."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path, PurePath
from typing import BinaryIO

from encoder.errors import CorruptMediaError, MediaError, UnsupportedMediaError
from encoder.media.source import opened
from ingest import isolate
from ingest.config import IngestConfig
from ingest.kinds.head import HEAD_BYTES
from ingest.kinds.reading import read_header
from ingest.kinds.registry import Candidate, check_chosen, sniff
from ingest.sources.secret_files import check_not_secret
from ingest.types import Asset

_ID_BYTES = 16  # as unlikely to collide as a UUID, half as long as the whole hash
_CHUNK_BYTES = 2**20


def identify(path: Path, config: IngestConfig, kind: str = "", asset_id: str = "") -> Asset:
    """Read a file's first bytes and header, check its limits and hash its content.

    Links are followed. ``uri`` is the absolute path. ``kind`` names the kind that it has to be;
    empty for the one that fits best. ``asset_id`` is the hash, if `content_id` has computed it.

    Raises:
        LeftOutError: of none of ``config.kinds``.
        SecretFileError: it holds keys or passwords.
        MediaError: missing, unreadable, empty, outside the roots, of an unknown or a different
            kind, or over a limit.
    """
    path = place(path, config)
    with opened(path) as file:
        facts = os.fstat(file.fileno())  # before it is read: who changes it later changes these
        size_bytes = file.seek(0, 2)
        file.seek(0)
        candidates = _sniffed(file, path, config, kind)
        read = isolate.read_header if config.isolate else read_header
        header = read(path, candidates, size_bytes, config)
        check_chosen(str(path), [header.media_type], config.kinds)
        asset_id = asset_id or _content_hash(file)
        metadata = {**header.metadata, "modified": modified_s(facts)}
    return Asset(asset_id, str(path), header.modality, header.media_type, size_bytes, metadata)


def identify_copy(file: Path, uri: str, config: IngestConfig) -> Asset:
    """Identify a copy of what is at ``uri``; a title that is the copy's name becomes the URI's.

    Raises:
        MediaError: as `identify`, with messages about ``uri``.
    """
    check_not_secret(uri, b"", config)
    try:
        asset = identify(file, config.model_copy(update={"roots": ()}))
    except MediaError as error:
        raise type(error)(error.problem.replace(str(file), uri), remedy=error.remedy) from error
    inner = PurePath(uri)
    names = {file.stem: inner.stem, file.name: inner.name}
    title = names.get(str(asset.metadata.get("title")), asset.metadata.get("title", inner.stem))
    metadata = {**asset.metadata, "title": title}
    return replace(asset, uri=uri, path=asset.uri, metadata=metadata)


def content_id(path: Path, config: IngestConfig) -> str:
    """The hash alone, without reading the header in a child process.

    Raises:
        LeftOutError: of none of ``config.kinds``.
        MediaError: unreadable, empty, or of an unknown kind.
    """
    with opened(path) as file:
        _sniffed(file, path, config)
        return _content_hash(file)


def _sniffed(
    file: BinaryIO, path: Path, config: IngestConfig, kind: str = ""
) -> tuple[Candidate, ...]:
    """The kinds that a file may be, one of ``config.kinds`` among them."""
    head = file.read(HEAD_BYTES)
    try:
        if config.isolate:
            candidates = isolate.sniff(head, path, kind, config)
        else:
            candidates = sniff(head, str(path), kind)
    except UnsupportedMediaError:
        check_chosen(str(path), [], config.kinds)
        check_not_secret(str(path), head, config)
        raise
    except MediaError:
        raise
    except Exception as error:  # a kind of another package may raise anything
        raise CorruptMediaError(
            f"{path} cannot be recognised ({type(error).__name__}: {error}).",
            remedy="Check that it opens elsewhere.",
        ) from error
    check_chosen(str(path), [candidate.media_type for candidate in candidates], config.kinds)
    holds_files = any(candidate.kind.holds_files for candidate in candidates)
    check_not_secret(str(path), b"" if holds_files else head, config)  # these are looked at alone
    return candidates


def modified_s(facts: os.stat_result) -> float:
    """When a file was last changed, as an asset's ``modified``: to the millisecond."""
    return round(facts.st_mtime, 3)


def place(path: Path, config: IngestConfig) -> Path:
    """Where a file lies, absolute and without links.

    Raises:
        MediaError: it is missing, may not be accessed or lies outside the roots.
    """
    try:
        resolved = path.expanduser().resolve(strict=True)
        str(resolved).encode()
    except UnicodeEncodeError as error:
        raise MediaError(
            f"{path!r}: the name is not valid UTF-8.", remedy="Rename the file."
        ) from error
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: links in a circle
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaError(
            f"{path} cannot be read: {reason}.",
            remedy="Check that it exists and that you may read it.",
        ) from error
    # Links and ".." may lead elsewhere.
    roots = [Path(root).expanduser().resolve() for root in config.roots]
    if roots and not any(resolved.is_relative_to(root) for root in roots):
        raise MediaError(
            f"{resolved} is outside the folders that may be read.",
            remedy="Move it there, or add its folder to ANYMODAL_INGEST__ROOTS.",
        )
    return resolved


def _content_hash(file: BinaryIO) -> str:
    """BLAKE3 of the whole file, 32 hex digits."""
    from blake3 import blake3

    file.seek(0)
    hasher = blake3()
    while chunk := file.read(_CHUNK_BYTES):
        hasher.update(chunk)
    return hasher.hexdigest(length=_ID_BYTES)

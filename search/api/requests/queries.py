"""Turn a request into a query of the engine."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection, Mapping

from encoder.errors import InputError
from encoder.types import AUDIO, DOCUMENT, IMAGE, QUERY, TEXT, VIDEO, Item, Modality
from search.api.ports import Decoder
from search.api.requests.bodies import SentFile
from search.api.requests.inputs import InputIn
from search.api.schemas import FilePart, SearchRequest, TermIn
from search.filters import Filter
from search.query.query import Query, Term
from search.types import READINGS, Reading

_BASE64_CHARS = 4 * 2**18
"""How much is decoded at once, since nothing else runs meanwhile: some milliseconds."""
_URL = re.compile(r"https?://", re.IGNORECASE)
_DATA_URI = re.compile(r"data:[\w.+-]*/?[\w.+-]*(;[\w=.+-]+)*;base64,")


def query_of(
    request: SearchRequest,
    decoder: Decoder,
    files: Mapping[str, SentFile],
    filter: Filter | None,
    *,
    folder_names: bool,
) -> Query:
    """Decode what the request holds."""
    return Query(
        [_term(term, f"query[{n}]", decoder, files) for n, term in enumerate(request.query)],
        modalities=[Modality(name) for name in request.modalities],
        limit=request.limit,
        filter=filter,
        quotas={Modality(name): n for name, n in request.quotas.items()},
        score_threshold=request.score_threshold,
        group_by=request.group_by,
        moments=request.moments,
        diversity=request.diversity,
        lexical=request.lexical,
        consistency=request.consistency,
        cursor=request.cursor,
        explain=request.explain,
        understand=_readings(request.understand),
        folder_names=folder_names,
        sort=request.sort,
        rerank=request.rerank,
        only=request.only,
        stacks=request.stacks,
        count=request.count,
    )


def _readings(readings: bool | list[Reading]) -> Collection[Reading]:
    if isinstance(readings, bool):
        return READINGS if readings else ()
    return readings


def _term(term: TermIn, label: str, decoder: Decoder, files: Mapping[str, SentFile]) -> Term:
    if term.asset_id is not None:
        return Term(asset_id=term.asset_id, weight=term.weight)
    item = item_of(term, label, decoder, files)
    # A text file is an example to find similar files with, not a question.
    is_question = term.text is not None or item.modality != TEXT
    return Term(item, weight=term.weight, role=QUERY if is_question else DOCUMENT)


def item_of(
    term: TermIn | InputIn, label: str, decoder: Decoder, files: Mapping[str, SentFile]
) -> Item:
    """The content of a term, decoded."""
    if term.text is not None:
        if not term.text.strip():
            raise InputError(f"{label}.text", got="an empty text", wanted="a visible character")
        return Item(TEXT, term.text)
    for modality in (IMAGE, AUDIO, VIDEO):
        media = getattr(term, modality)
        if media is not None:
            return _medium(modality, media, f"{label}.{modality}", decoder, files)
    kind = term.kind or ""
    if term.url is not None:
        return decoder.decode_url(kind, term.url, label)
    if term.file is not None:
        sent = _part(term.file, f"{label}.file", files)
        return decoder.decode_file(kind, sent.data, sent.name, label)
    return decoder.decode_file(kind, _of_base64(term.base64 or "", f"{label}.base64"), "", label)


def _medium(
    modality: Modality,
    media: str | FilePart,
    label: str,
    decoder: Decoder,
    files: Mapping[str, SentFile],
) -> Item:
    if isinstance(media, FilePart) or not _URL.match(media):
        return decoder.decode(modality, _bytes(media, label, files), label)
    item = decoder.decode_url("", media, label)
    if item.modality != modality:
        raise InputError(label, got=f"{item.modality} at {media[:80]!r}", wanted=modality)
    return item


def _bytes(media: str | FilePart, label: str, files: Mapping[str, SentFile]) -> bytes:
    if isinstance(media, FilePart):
        return _part(media.file, f"{label}.file", files).data
    return _of_base64(media, label)


def _part(name: str, label: str, files: Mapping[str, SentFile]) -> SentFile:
    if name not in files:
        raise InputError(
            label,
            got=f"{name!r}, which is not a part of this request",
            wanted=f"one of {', '.join(sorted(files)) or 'its files (none was sent)'}",
        )
    return files[name]


def _of_base64(media: str, label: str) -> bytes:
    prefix = _DATA_URI.match(media[:200])
    starts = range(prefix.end() if prefix else 0, len(media), _BASE64_CHARS)
    pieces = (media[start : start + _BASE64_CHARS] for start in starts)
    try:
        decoded = [base64.b64decode(piece, validate=True) for piece in pieces]
    except (binascii.Error, ValueError):
        raise InputError(label, got="text that is not Base64", wanted="Base64") from None
    # Only the end may be padded: a piece of full length has no room for it.
    if any(len(piece) * 4 != _BASE64_CHARS * 3 for piece in decoded[:-1]):
        raise InputError(label, got="Base64 that ends early", wanted="Base64")
    return b"".join(decoded)

"""Turn a request into a query of the engine."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection, Mapping

from encoder.errors import InputError
from encoder.types import AUDIO, IMAGE, TEXT, VIDEO, Item, Modality
from search.api.openai.requests import InputIn
from search.api.ports import Decoder
from search.api.schemas import FilePart, SearchRequest, TermIn
from search.filters import Filter
from search.types import READINGS, Query, Reading, Term

_DATA_URI = re.compile(r"data:[\w.+-]*/?[\w.+-]*(;[\w=.+-]+)*;base64,")


def query_of(
    request: SearchRequest, decoder: Decoder, files: Mapping[str, bytes], filter: Filter | None
) -> Query:
    """Decode what the request holds.

    Args:
        request: as it came.
        decoder: for its media.
        files: the parts that it may name.
        filter: its filter, restricted to what its sender may see.

    Raises:
        InputError: not Base64, or a part that is not there.
        MediaError: media that cannot be decoded.
    """
    return Query(
        [_term(term, f"query[{n}]", decoder, files) for n, term in enumerate(request.query)],
        [Modality(name) for name in request.modalities],
        request.limit,
        filter,
        {Modality(name): n for name, n in request.quotas.items()},
        request.score_threshold,
        request.group_by,
        request.mix,
        request.moments,
        request.diversity,
        request.lexical,
        request.consistency,
        request.cursor,
        request.explain,
        _readings(request.understand),
    )


def _readings(asked: bool | list[Reading]) -> Collection[Reading]:
    if isinstance(asked, bool):
        return READINGS if asked else ()
    return asked


def _term(term: TermIn, label: str, decoder: Decoder, files: Mapping[str, bytes]) -> Term:
    if term.asset_id is not None:
        return Term(asset_id=term.asset_id, weight=term.weight)
    return Term(item_of(term, label, decoder, files), weight=term.weight)


def item_of(
    term: TermIn | InputIn, label: str, decoder: Decoder, files: Mapping[str, bytes]
) -> Item:
    """What a term holds, decoded.

    Raises:
        InputError: not Base64, or a part that is not there.
        MediaError: media that cannot be decoded.
    """
    if term.text is not None:
        if not term.text.strip():
            raise InputError(f"{label}.text", got="an empty text", wanted="a visible character")
        return Item(TEXT, term.text)
    for modality in (IMAGE, AUDIO, VIDEO):
        media = getattr(term, modality)
        if media is not None:
            label = f"{label}.{modality}"
            return decoder.decode(modality, _bytes(media, label, files), label)
    raise InputError(label, got="nothing", wanted="text, image, audio, video or asset_id")


def _bytes(media: str | FilePart, label: str, files: Mapping[str, bytes]) -> bytes:
    if isinstance(media, FilePart):
        if media.file not in files:
            raise InputError(
                f"{label}.file",
                got=f"{media.file!r}, which is no part of this request",
                wanted=f"one of {', '.join(sorted(files)) or 'its files (none was sent)'}",
            )
        return files[media.file]
    found = _DATA_URI.match(media[:200])
    try:
        return base64.b64decode(media[found.end() :] if found else media, validate=True)
    except (binascii.Error, ValueError):
        raise InputError(label, got="text that is not Base64", wanted="Base64") from None

"""Where a page ends and the next one begins: an opaque cursor. Pure.

A cursor lists the hits shown before, by short hashes, and the next page leaves them out. So pages
never repeat or skip hits, whatever was ingested, deleted or found late by an approximate index in
between; a place in a ranking could guarantee neither, since the ranking changes. It costs 8
characters for each hit shown. The cursor also carries a digest of the query, so that it is refused
with a different one, and how many candidates earlier pages took, so that the next one need not
guess how many more to request.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from encoder.errors import InputError
from encoder.types import Embeddings
from search.query.query import Query

MAX_SHOWN = 10_000

_VERSION = b"\x04"
_DIGEST_BYTES = 8
_KEY_BYTES = 6
_REACHED = struct.Struct(">IffI?")
"""As `Reached` has them."""
_SIGNED_DIMS = 32
_HEAD_BYTES = len(_VERSION) + _DIGEST_BYTES
# Encoding the same content in a different batch moves an embedding by less than one step.
_STEP = 1 / 512


class Reached(NamedTuple):
    """What a page leaves to the next one.

    Its last hit was the candidate at the rank ``depth``. ``best``, ``last`` and ``is_over`` are
    those of `search.ranking.verdict.Verdict` behind it, ``n_strong`` is how many hits up to there
    were not weak.
    """

    depth: int = 0
    best: float = -math.inf
    last: float = 1.0
    n_strong: int = 0
    is_over: bool = False


@dataclass(frozen=True)
class Page:
    """The hits of earlier pages, and what these reached."""

    digest: bytes
    signature: bytes
    reached: Reached = field(default_factory=Reached)
    shown: frozenset[bytes] = field(default_factory=frozenset)

    def has_shown(self, key: str) -> bool:
        """Whether an earlier page had the hit with this key."""
        return bool(self.shown) and _short(key) in self.shown

    def cursor(self, keys: Iterable[str], after: Reached) -> str:
        """The cursor of the page after this one, which shows ``keys``; empty if none may follow.

        ``after`` is what is known behind its last hit.
        """
        all_shown = self.shown.union(map(_short, keys))
        if len(all_shown) > MAX_SHOWN:
            return ""
        reached = _REACHED.pack(*after._replace(depth=max(self.reached.depth, after.depth)))
        packed = b"".join([_VERSION, self.digest, self.signature, reached, *sorted(all_shown)])
        return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def check_cursor(query: Query, embed_dim: int) -> None:
    """Refuse, before anything is encoded, a cursor that `read_page` would refuse anyway."""
    if query.cursor:
        _packed(query, _digest(query), min(_SIGNED_DIMS, embed_dim))


def read_page(query: Query, direction: Embeddings) -> Page:
    """The page that ``query.cursor`` asks for; the first one without a cursor.

    Args:
        query: what is asked now; all but ``limit``, ``moments``, ``consistency``, ``explain`` and
            ``count`` has to be as before.
        direction: the query's, float32 [embed_dim].
    """
    first = Page(_digest(query), _signature(direction))
    if not query.cursor:
        return first
    n_signed = len(first.signature)
    packed = _packed(query, first.digest, n_signed)
    tail, body = _HEAD_BYTES + n_signed, _HEAD_BYTES + n_signed + _REACHED.size
    signatures = np.frombuffer(packed[_HEAD_BYTES:tail] + first.signature, np.int8)
    steps = signatures.reshape(2, n_signed).astype(np.int16)
    if np.abs(steps[0] - steps[1]).max(initial=0) > 1:
        raise _refused(query.cursor, "which belongs to another query")
    keys = (packed[i : i + _KEY_BYTES] for i in range(body, len(packed), _KEY_BYTES))
    reached = Reached(*_REACHED.unpack(packed[tail:body]))
    if math.isnan(reached.best) or not 0 <= reached.last <= 1:
        raise _refused(query.cursor, "which is not a cursor")
    return Page(first.digest, first.signature, reached, frozenset(keys))


def _packed(query: Query, digest: bytes, n_signed: int) -> bytes:
    """What a cursor holds, if its form is right and it is of this query."""
    padded = query.cursor + "=" * (-len(query.cursor) % 4)
    try:
        packed = base64.b64decode(padded, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise _refused(query.cursor, "which is not a cursor") from None
    n_key_bytes = len(packed) - _HEAD_BYTES - n_signed - _REACHED.size
    if packed[:1] != _VERSION or n_key_bytes < 0 or n_key_bytes % _KEY_BYTES:
        raise _refused(query.cursor, "which is not a cursor")
    if packed[1:_HEAD_BYTES] != digest:
        raise _refused(query.cursor, "which belongs to another query")
    return packed


def _refused(cursor: str, why: str) -> InputError:
    excerpt = cursor if len(cursor) <= 40 else f"{cursor[:40]}…"
    return InputError(
        "query.cursor",
        got=f"{excerpt!r}, {why}",
        wanted="the previous page's next_cursor, with the same query",
    )


def _short(key: str) -> bytes:
    """A short hash; any two of 10,000 hits share one with a probability of 2e-7."""
    return hashlib.sha256(key.encode()).digest()[:_KEY_BYTES]


def _digest(query: Query) -> bytes:
    """A hash of all that decides the hits and their order, except the items."""
    facts = (
        [(term.asset_id, float(term.weight)) for term in query.terms],
        sorted(set(query.modalities)),
        query.filter,
        sorted(query.quotas.items()),
        query.score_threshold,
        query.group_by,
        query.diversity,
        query.lexical,
        query.stacks,
        query.sort,
    )
    return hashlib.sha256(repr(facts).encode()).digest()[:_DIGEST_BYTES]


def _signature(direction: Embeddings) -> bytes:
    """The items, as some rounded numbers of their direction."""
    steps = np.clip(np.rint(direction[:_SIGNED_DIMS] / _STEP), -127, 127)
    return bytes(steps.astype(np.int8).tobytes())

"""The vectors of one part: files by slots, searched by short codes, ranked exactly.

``<part>.rows`` holds float32 [n_slots, embed_dim], ``<part>.slots`` the asset's number and the
CRC-32 of each row, int32 [n_slots, 2]; the tables have the CRC-32 of that. Rows are compared with
theirs whenever they are read, and so are the files of codes when they are opened. Both files only
grow; data beyond the slots that the tables know is from a write that was cut off. For every `CHUNK`
complete rows there is a file of codes of half a byte per dimension, made when it is missing; where
that would lose some of the nearest, each process makes codes of a byte. A search reads files of
codes through memory maps, which all processes share, and ranks the best by their float32 rows. The
last `STEP` rows are compared as they are, and so are those that pass a filter where it leaves few.
"""

from __future__ import annotations

import os
import weakref
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from itertools import compress
from mmap import PROT_READ, mmap
from pathlib import Path
from threading import Lock
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from encoder.types import Embeddings
from search.store.folder.codes import (
    CHUNK,
    ByteCodes,
    NibbleCodes,
    put,
    read_into,
)
from search.store.folder.database import DamagedError, GivenUpError, sync_folder

STEP = 1024
"""Newer rows get codes once there are this many: comparing codes takes a third of the time."""
_FEW = 2048
"""Up to this many rows are compared as they are, wherever they lie."""
_SOME = 1 / 16
"""If so much of a chunk is wanted, all its codes are compared, and those wanted are looked for in
the best of all rows; if less is, its rows, which takes no longer."""
_AT_ONCE = 512
"""The rows that are copied together: larger copies get new pages each time."""
_MORE = 3
_SPARE = 64
"""`_MORE` times as many rows as are wanted, and these, are ranked by their floats."""

_LEAST_PER_CHUNK = 16
"""With twice the share of the best that a chunk has if they are anywhere: see `with_more`."""
_MAPPED_BYTES = 1 << 26

Codes: TypeAlias = ByteCodes | NibbleCodes


class VectorFiles:
    """Writes and reads the files of a part."""

    def __init__(self, folder: Path, part_no: int, embed_dim: int) -> None:
        self._embed_dim = embed_dim
        self._row_bytes = 4 * embed_dim
        self._base = folder / str(part_no)
        self._codes: dict[int, Codes] = {}
        self._n_complete = 0
        self._recent: tuple[int, int, ByteCodes] | None = None
        self._nos = np.empty(0, np.int32)
        self._sums = np.empty(0, np.uint32)
        self._is_checked = np.empty(0, bool)
        self._sum = 0
        self._map: mmap | None = None
        self._tail = np.empty((0, embed_dim), np.float32)
        self._tail_start = 0
        self._n_tail = 0
        self._lock = Lock()
        self._open: dict[str, tuple[int, Callable[[], object]]] = {}

    def _opened(self, suffix: str) -> int:
        """A file, open until `close`, or until nobody uses this object any more."""
        if suffix not in self._open:
            path = self._base.with_suffix(suffix)
            try:
                file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError as error:
                raise GivenUpError(f"{path} is missing") from error
            self._open[suffix] = file, weakref.finalize(self, os.close, file)
        return self._open[suffix][0]

    def append(self, start: int, rows: Embeddings, nos: NDArray[np.int32], total: int = 0) -> int:
        """Write rows [n, embed_dim] of assets from a slot on; they count once the tables say so.

        Takes the checksum of all slots before, and returns that of all with these.
        """
        slots = np.stack([nos, _sums_of(rows).view(np.int32)], axis=1)
        put(self._base.with_suffix(".rows"), start * self._row_bytes, rows)
        put(self._base.with_suffix(".slots"), start * 8, slots)
        if not start:
            sync_folder(self._base.parent)
        return zlib.crc32(slots.data, total)

    def rows(self, slots: NDArray[np.int64]) -> Embeddings:
        """The rows [n, embed_dim] of slots. Call `nos` first.

        Raises:
            DamagedError: they are not what was written.
        """
        vectors = np.empty((len(slots), self._embed_dim), np.float32)
        with self._lock:
            tail, start, end = self._tail, self._tail_start, self._tail_start + self._n_tail
        is_near = (slots >= start) & (slots < end)
        vectors[is_near] = tail[slots[is_near] - start]
        far = np.flatnonzero(~is_near)
        if len(far):
            vectors[far] = self._far(slots[far])
            self._check(vectors[far], self._sums[slots[far]])
        return vectors

    def _far(self, slots: NDArray[np.int64]) -> Embeddings:
        """Rows from the file, mapped if it is small enough to stay so.

        To map the pages of a large one for each search takes twice as long as to read its rows.
        """
        mapped = self._mapped(int(slots.max()) + 1)
        if mapped.nbytes > _MAPPED_BYTES:
            vectors = np.empty((len(slots), self._embed_dim), np.float32)
            for vector, slot in zip(vectors, slots.tolist(), strict=True):
                os.preadv(self._opened(".rows"), [vector.data], slot * self._row_bytes)
            return vectors
        taken: Embeddings = mapped[slots]
        return taken

    def _mapped(self, n_slots: int) -> Embeddings:
        """At least the first rows of the file."""
        file, n_needed = self._opened(".rows"), n_slots * self._row_bytes
        n_bytes = os.fstat(file).st_size
        if n_bytes < n_needed:  # damaged: to touch a page beyond the end would kill this process
            raise DamagedError(self._base.with_suffix(".rows"))
        mapped = self._map
        if mapped is None or len(mapped) < n_needed:
            mapped = self._map = mmap(
                file, n_bytes // self._row_bytes * self._row_bytes, prot=PROT_READ
            )
        return np.frombuffer(mapped, np.float32).reshape(-1, self._embed_dim)

    def range(self, start: int, end: int) -> Embeddings:
        """The rows from one slot to another; see `rows`."""
        vectors = np.empty((end - start, self._embed_dim), np.float32)
        if end > start:
            read_into(self._opened(".rows"), vectors, start * self._row_bytes)
            self._check(vectors, self._sums[start:end])
        return vectors

    def _check(self, rows: Embeddings, sums: NDArray[np.uint32]) -> None:
        if len(sums) != len(rows) or (_sums_of(rows) != sums).any():
            raise DamagedError(self._base.with_suffix(".rows"))

    def nos(self, n_slots: int, total: int) -> NDArray[np.int32]:
        """The assets' numbers of the first slots; the sums of their rows are kept."""
        with self._lock:
            n_known = len(self._nos)
            if n_slots > n_known:
                slots = np.empty((n_slots - n_known, 2), np.int32)
                read_into(self._opened(".slots"), slots, 8 * n_known)
                if (checksum := zlib.crc32(slots.data, self._sum)) != total:
                    raise DamagedError(self._base.with_suffix(".slots"))
                self._nos = np.concatenate([self._nos, slots[:, 0]])
                self._sums = np.concatenate([self._sums, slots[:, 1].view(np.uint32)])
                self._is_checked = np.pad(self._is_checked, (0, len(slots)))
                self._sum = checksum
            return self._nos[:n_slots]

    def nearest(
        self, queries: Embeddings, limit: int, n_slots: int, slot_mask: NDArray[np.bool_] | None
    ) -> list[RankedSlots]:
        """The best of the first slots for each unit query [n, embed_dim], and ties with the last.

        ``slot_mask`` is [n_slots], or None for all.
        """
        with _in_one_thread() if n_slots >= STEP else nullcontext():
            candidates = self._candidates(queries, _MORE * limit + _SPARE, n_slots, slot_mask)
        return [
            ranked(query, slots, self.rows(slots), limit)
            for query, slots in zip(queries, candidates, strict=True)
        ]

    def _candidates(
        self, queries: Embeddings, limit: int, n_slots: int, slot_mask: NDArray[np.bool_] | None
    ) -> list[NDArray[np.int64]]:
        """The slots that are likely among the best, in ascending order.

        A few are taken of each chunk, or all if it can hold more of the best than that.
        """
        chunks, exact_slots = list[Chunk](), list[NDArray[np.int64]]()
        is_few = slot_mask is not None and bool(np.count_nonzero(slot_mask) <= _FEW)
        if slot_mask is not None and is_few:
            exact_slots.append(np.flatnonzero(slot_mask))
        else:
            for start, end in _coded(n_slots):
                chunk_mask = None if slot_mask is None else slot_mask[start:end]
                n_wanted = end - start if chunk_mask is None else np.count_nonzero(chunk_mask)
                if chunk_mask is not None and n_wanted < _SOME * CHUNK:
                    exact_slots.append(start + np.flatnonzero(chunk_mask))
                else:
                    chunks.append(Chunk(start, self._codes_of(start, end), chunk_mask))
            newest = np.arange(max(n_slots // CHUNK * CHUNK, n_slots // STEP * STEP), n_slots)
            exact_slots.append(newest if slot_mask is None else newest[slot_mask[newest]])
        exact = self._exact(queries, np.concatenate(exact_slots), n_slots, is_few)
        n_per_chunk = min(limit, _LEAST_PER_CHUNK + 2 * limit // max(len(chunks), 1))
        some = in_chunks(queries, min(n_per_chunk, CHUNK), chunks, can_stop=True)
        has_more = with_more(some, least_of(joined(exact, some), limit))
        if n_per_chunk == limit:
            has_more &= (some.slots[:, :, -1] < 0).any(axis=1)
        rescored = in_chunks(queries, min(limit, CHUNK), list(compress(chunks, has_more)))
        some = Scored(some.scores[~has_more], some.slots[~has_more])
        scores, slots = joined(joined(exact, rescored), some)
        return [
            best_of(of_query, of_slots, limit)
            for of_query, of_slots in zip(scores, slots, strict=True)
        ]

    def _codes_of(self, start: int, end: int) -> Codes:
        """A chunk's codes; those of the incomplete one are kept in memory."""
        if end - start == CHUNK:
            return self._chunk(start // CHUNK)
        recent = self._recent
        if recent is None or recent[:2] != (start, end):
            recent = self._recent = start, end, ByteCodes.of(self._newest(start, end))
        return recent[2]

    def _exact(
        self, queries: Embeddings, slots: NDArray[np.int64], n_slots: int, is_few: bool
    ) -> Scored:
        """The cosines of some rows, in ascending order of their slots.

        If they are few, only they are read, and nothing is kept in memory.
        """
        cosines = np.empty((len(queries), len(slots)), np.float32)
        first = n_slots // CHUNK * CHUNK
        n_far = int(np.searchsorted(slots, first))
        for start in range(0, n_far, _AT_ONCE):
            some = slots[start : min(start + _AT_ONCE, n_far)]
            rows = self._mapped(int(some[-1]) + 1)[some]
            if len(unchecked := np.flatnonzero(~self._is_checked[some])):
                self._check(rows[unchecked], self._sums[some[unchecked]])
                self._is_checked[some] = True
            cosines[:, start : start + len(some)] = queries @ rows.T
        near = slots[n_far:] - first
        if len(near) and is_few:  # others may be damaged, and count no more
            cosines[:, n_far:] = queries @ self.rows(slots[n_far:]).T
        elif len(near):
            is_run = near[-1] - near[0] == len(near) - 1
            rows = self._newest(first, n_slots)[slice(near[0], near[-1] + 1) if is_run else near]
            cosines[:, n_far:] = queries @ rows.T
        return Scored(cosines, np.broadcast_to(slots, cosines.shape))

    def _newest(self, start: int, end: int) -> Embeddings:
        """The rows of the incomplete chunk, kept in memory."""
        with self._lock:
            if self._tail_start != start:
                self._tail, self._tail_start, self._n_tail = self._tail[:0], start, 0
            n, n_known = end - start, self._n_tail
            if n > len(self._tail):
                grown = np.empty((min(CHUNK, 2 * n), self._embed_dim), np.float32)
                grown[:n_known] = self._tail[:n_known]
                self._tail = grown
            if n > n_known:
                self._tail[n_known:n] = self.range(start + n_known, end)
                self._n_tail = n
            return self._tail[:n]

    def _chunk(self, chunk: int) -> Codes:
        """A chunk's codes; an empty file says that half a byte would lose some of the nearest."""
        if chunk not in self._codes:
            path = self._path(chunk)
            is_lossy = path.exists() and not path.stat().st_size
            self._codes[chunk] = (
                ByteCodes.of(self._chunk_rows(chunk))
                if is_lossy
                else NibbleCodes.opened(path, CHUNK, self._embed_dim) or self._encoded(chunk)
            )
        return self._codes[chunk]

    def _path(self, chunk: int) -> Path:
        return self._base.with_suffix(f".{chunk}.nibbles")

    def _chunk_rows(self, chunk: int) -> Embeddings:
        return self.range(chunk * CHUNK, (chunk + 1) * CHUNK)

    def _encoded(self, chunk: int) -> Codes:
        path, rows = self._path(chunk), self._chunk_rows(chunk)
        codes = NibbleCodes.of(rows)
        is_lossy = not codes.finds_nearest(rows)
        with suppress(OSError):  # as on a read-only disk
            if is_lossy:
                path.write_bytes(b"")
            else:
                codes.keep(path)
                return NibbleCodes.opened(path, CHUNK, self._embed_dim) or codes
        return ByteCodes.of(rows) if is_lossy else codes

    def complete(self, n_slots: int, total: int) -> None:
        """Make the codes that a search of the first slots needs; see `nos`."""
        n_chunks = n_slots // CHUNK
        if n_chunks > self._n_complete:
            self.nos(n_slots, total)
            for chunk in range(self._n_complete, n_chunks):
                if not self._path(chunk).exists():
                    self._encoded(chunk)
            self._n_complete = n_chunks

    def close(self) -> None:
        """Close the files."""
        while self._open:
            self._open.popitem()[1][1]()
        self._codes = {}
        self._recent = self._map = None


def _sums_of(rows: Embeddings) -> NDArray[np.uint32]:
    """The checksum of each row: .1 ms for a hundred rows of 384 dimensions."""
    return np.fromiter(map(zlib.crc32, rows), np.uint32, len(rows))


@contextmanager
def _in_one_thread() -> Iterator[None]:
    """Faiss divides queries, not rows: for one query, threads would wait at each chunk's end."""
    import faiss

    n_threads = faiss.omp_get_max_threads()  # of this thread
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(n_threads)


def _coded(n_slots: int) -> list[tuple[int, int]]:
    """The ranges of slots that have codes.

    >>> _coded(2 * CHUNK + 3 * STEP + 7) == [(0, CHUNK), (CHUNK, 2 * CHUNK), (2 * CHUNK, 19456)]
    True
    """
    whole = [(start, start + CHUNK) for start in range(0, n_slots - CHUNK + 1, CHUNK)]
    start, end = len(whole) * CHUNK, n_slots // STEP * STEP
    return [*whole, (start, end)] if end > start else whole


class Scored(NamedTuple):
    """Scores and slots [..., limit] of each query; -1 where there are no more."""

    scores: NDArray[np.float32]
    slots: NDArray[np.int64]


class Chunk(NamedTuple):
    """Rows with codes, from slot ``start`` on; ``wanted`` says which of them, None for all."""

    start: int
    codes: Codes
    wanted: NDArray[np.bool_] | None


def in_chunks(
    queries: Embeddings, limit: int, chunks: Sequence[Chunk], can_stop: bool = False
) -> Scored:
    """About the best of each chunk for each query [n, embed_dim]: [n_chunks, n, limit].

    If it ``can_stop``, fewer may be found where a filter leaves rows out; see `with_more`.
    """
    shape = len(chunks), len(queries), limit
    products, places = np.empty(shape, np.float32), np.empty(shape, np.int64)
    for at, chunk in enumerate(chunks):
        chunk.codes.nearest(queries, chunk.wanted, products[at], places[at], can_stop)
    starts = np.array([chunk.start for chunk in chunks], np.int64)[:, None, None]
    return Scored(products, np.where(places < 0, -1, places + starts))


_TIE = 1e-6
_MAX_TIES = 1000


class RankedSlots(NamedTuple):
    """Slots and cosines, best first, of one query."""

    slots: NDArray[np.int64]
    cosines: NDArray[np.float32]


def joined(newest: Scored, in_chunks: Scored) -> Scored:
    """Both, in one row for each query."""
    scores, slots = newest
    return Scored(
        np.concatenate([scores, *in_chunks.scores], axis=1),
        np.concatenate([slots, *in_chunks.slots], axis=1),
    )


def least_of(scored: Scored, limit: int) -> NDArray[np.float32]:
    """A lower bound [n, 1] for the scores of the best of each query."""
    scores = np.where(scored.slots < 0, -np.inf, scored.scores)
    if scores.shape[1] < limit:
        return np.full((len(scores), 1), -np.inf, np.float32)
    return np.partition(scores, -limit, axis=1)[:, -limit, None]


def with_more(scored: Scored, least: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which chunks [n_chunks] may have more rows among the best: no other exceeds the last score.

    It is -inf if there are no more.
    """
    last = scored.scores[:, :, -1]
    may: NDArray[np.bool_] = (last >= least[:, 0] - _TIE) & np.isfinite(last)
    return np.any(may, axis=1)  # type: ignore[no-any-return]


def best_of(scores: NDArray[np.float32], slots: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    """The slots with the highest scores, and any ties with the last, in ascending order."""
    usable = np.isfinite(scores) & (slots >= 0)
    scores, slots = scores[usable], slots[usable]
    if len(scores) > limit:
        least = np.partition(scores, -limit)[-limit]
        chosen = np.flatnonzero(scores >= least - _TIE)
        slots = slots[chosen[: limit + _MAX_TIES]] if len(chosen) > limit else slots[chosen]
    return np.sort(slots)


def ranked(
    query: Embeddings, slots: NDArray[np.int64], rows: Embeddings, limit: int
) -> RankedSlots:
    """Rank in float64, so that equal rows get equal cosines wherever they are."""
    cosines = (rows.astype(np.float64) @ query.astype(np.float64)).astype(np.float32)
    if len(cosines) > limit:
        least = np.partition(cosines, -limit)[-limit]
        best = np.flatnonzero(cosines >= least - _TIE)
        slots, cosines = slots[best], cosines[best]
    order = np.argsort(-cosines, kind="stable")
    return RankedSlots(slots[order], cosines[order])

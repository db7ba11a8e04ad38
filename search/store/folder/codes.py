"""Codes for rows of vectors, by faiss.

`NibbleCodes` are half a byte per dimension: sixteen levels, compared by look-ups in register
tables, and kept in files with a checksum. `ByteCodes` are an int8 per dimension, with a scale for
each: half as fast, of twice the size, and in memory alone, for the newest rows and for those that
half a byte would confuse. The levels are those of Max,
"Quantizing for minimum distortion" (1960), for normally distributed values; the look-ups are those
of André, Kermarrec and Le Scouarnec, "Cache locality is not enough" (2015).
"""

from __future__ import annotations

import os
import weakref
import zlib
from ctypes import Structure, c_size_t, c_void_p
from mmap import PROT_READ, mmap
from pathlib import Path
from threading import get_ident
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.types import Embeddings
from search.store.folder.database import DamagedError
from search.store.folders import opened

_SUM_BYTES = 4


def put(path: Path, start: int, values: NDArray[Any]) -> None:
    """Write to a file, which is created if missing, and sync it to disk."""
    view, done = np.ascontiguousarray(values).view(np.uint8).reshape(-1).data, 0
    with opened(path, os.O_WRONLY | os.O_CREAT) as file:
        while done < len(view):
            done += os.pwrite(file, view[done:], start + done)
        os.fdatasync(file)


def read_into(file: int, values: NDArray[Any], start: int) -> None:
    """Fill in values from an open file; a `DamagedError` if it is too short."""
    view, done = values.view(np.uint8).reshape(-1).data, 0
    while done < len(view):
        read = os.preadv(file, [view[done:]], start + done)
        if not read:
            raise DamagedError
        done += read


def _checksum(values: NDArray[np.uint8]) -> bytes:
    return zlib.crc32(values.data).to_bytes(_SUM_BYTES, "big")


CHUNK = 8192
"""Rows per file of codes."""
_CODES = 127


class ByteCodes:
    """Codes [n, embed_dim] of rows, and the scale of each dimension."""

    def __init__(self, index: Any, scales: Embeddings) -> None:
        self._index = index
        self.scales = scales

    @classmethod
    def of(cls, rows: Embeddings) -> ByteCodes:
        import faiss

        scales = np.maximum(np.abs(rows).max(axis=0) / _CODES, 1e-30).astype(np.float32)
        index = faiss.IndexScalarQuantizer(
            rows.shape[1],
            faiss.ScalarQuantizer.QT_8bit_direct_signed,
            faiss.METRIC_INNER_PRODUCT,
        )
        index.add(np.rint(rows / scales))
        return cls(index, scales)

    def nearest(
        self,
        queries: Embeddings,
        row_mask: NDArray[np.bool_] | None,
        products: NDArray[np.float32],
        places: NDArray[np.int64],
        can_stop: bool = False,  # noqa: ARG002
    ) -> None:
        """Fill in products and places [n, limit] of about the best; -inf and -1 beyond the last.

        Args:
            queries: unit rows [n, embed_dim].
            row_mask: which of the rows; None for all.
            products: about the cosines.
            places: those of the rows.
            can_stop: see `NibbleCodes.nearest`.
        """
        import faiss

        params = None
        if row_mask is not None:
            bits = np.packbits(row_mask, bitorder="little")
            chosen = faiss.IDSelectorBitmap(bits)  # type: ignore[call-arg, arg-type]
            params = faiss.SearchParameters(sel=chosen)  # type: ignore[call-arg]
        scaled = queries * self.scales
        steps = np.maximum(np.abs(scaled).max(axis=1, keepdims=True) / _CODES, 1e-30)
        whole = np.rint(scaled / steps, dtype=np.float32)  # to which faiss truncates them
        self._index.search(whole, products.shape[1], params=params, D=products, I=places)
        products *= steps
        products[places < 0] = -np.inf


_N_LEVELS = 16
_ROWS_PER_BLOCK = 32
"""Which faiss compares at once."""
_STEP = 0.3352
"""The distance between two levels, in standard deviations."""
_LEAST_STEP = 1e-4
"""For a dimension in which all rows are equal: faiss divides by the total span of the levels."""
_N_TRIED, _N_NEAREST, _N_ASKED = 32, 10, 94
"""Queries, and the most rows that are ranked by their floats for ten hits."""
_LEAST_RECALL = 0.99
_MORE, _SPARE = 1.3, 64
"""How many more rows are looked at than are needed if a filter's are anywhere among them."""


class NibbleCodes:
    """Codes [n, embed_dim] of complete rows."""

    def __init__(self, index: Any) -> None:
        self._index = index

    @classmethod
    def of(cls, rows: Embeddings) -> NibbleCodes:
        import faiss

        dim = rows.shape[1]
        steps = np.maximum(_STEP * rows.std(axis=0), _LEAST_STEP)
        lowest = rows.mean(axis=0) - _N_LEVELS / 2 * steps
        codes = ((rows - lowest) / steps).clip(0, _N_LEVELS - 1).astype(np.uint8)
        packed: Any = faiss.IndexPQ(dim, dim, 4, faiss.METRIC_INNER_PRODUCT)
        levels = lowest[:, None] + (np.arange(_N_LEVELS) + 0.5) * steps[:, None]
        faiss.copy_array_to_vector(levels.astype(np.float32).ravel(), packed.pq.centroids)
        faiss.copy_array_to_vector(_in_pairs(codes).ravel(), packed.codes)
        packed.ntotal, packed.is_trained = len(rows), True
        return cls(faiss.IndexPQFastScan(packed))

    @classmethod
    def opened(cls, path: Path, n_rows: int, dim: int) -> NibbleCodes | None:
        """The codes in a file, mapped into memory; None if missing, damaged or of another size."""
        import faiss

        try:
            with path.open("rb") as file:
                content = np.frombuffer(mmap(file.fileno(), 0, prot=PROT_READ), np.uint8)
        except (OSError, ValueError):  # missing or empty
            return None
        n_level_bytes = 4 * _N_LEVELS * dim
        levels, codes = content[:n_level_bytes], content[n_level_bytes:-_SUM_BYTES]
        n_code_bytes = -(-n_rows // _ROWS_PER_BLOCK) * _ROWS_PER_BLOCK * -(-dim // 2)
        if len(codes) != n_code_bytes or _checksum(content[:-_SUM_BYTES]) != bytes(
            content[-_SUM_BYTES:]
        ):
            return None
        index: Any = faiss.IndexPQFastScan(dim, dim, 4, faiss.METRIC_INNER_PRODUCT)
        faiss.copy_array_to_vector(levels.view(np.float32), index.pq.centroids)
        index.ntotal, index.is_trained = n_rows, True
        index.ntotal2 = -(-n_rows // _ROWS_PER_BLOCK) * _ROWS_PER_BLOCK
        opened = cls(index)
        _lend(opened, index, codes)
        return opened

    def keep(self, path: Path) -> None:
        """Write the file atomically; others may do the same at once."""
        import faiss

        parts = faiss.vector_to_array(self._index.pq.centroids), self._index.codes
        levels, codes = parts[0].view(np.uint8), faiss.vector_to_array(parts[1])
        values = np.concatenate([levels, codes])
        partial = path.with_name(f"{path.name}-{os.getpid()}-{get_ident()}")
        try:
            partial.write_bytes(values.tobytes() + _checksum(values))
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def finds_nearest(self, rows: Embeddings) -> bool:
        """Whether a sample of the coded rows [n, embed_dim] find their nearest by these codes.

        A dimension far wider than the others, or thousands of them, leave the tables of 8 bits too
        little precision to order rows.
        """
        queries = rows[:: -(-len(rows) // _N_TRIED)]
        n_asked, n = min(_N_ASKED, len(rows)), min(_N_NEAREST, len(rows))
        nearest = np.argpartition(-(queries @ rows.T), n - 1, axis=1)[:, :n]
        _, hit_rows = self._index.search(queries, n_asked)
        hits = [np.isin(expected, best) for expected, best in zip(nearest, hit_rows, strict=True)]
        return bool(np.mean(hits) >= _LEAST_RECALL)

    def nearest(
        self,
        queries: Embeddings,
        row_mask: NDArray[np.bool_] | None,
        products: NDArray[np.float32],
        places: NDArray[np.int64],
        can_stop: bool = False,
    ) -> None:
        """See `ByteCodes.nearest`.

        With a mask, as many more rows are searched for as it leaves out. If it ``can_stop``, so
        many that enough are likely among them; if they are not, the last product is that of the
        last row looked at.
        """
        limit = products.shape[1]
        if row_mask is None:
            self._index.search(queries, limit, D=products, I=places)
            products[places < 0] = -np.inf
            return
        n_wanted, n_rows = int(np.count_nonzero(row_mask)), len(row_mask)
        n_looked_at = min(limit + n_rows - n_wanted, n_rows)
        if can_stop:
            n_looked_at = min(n_looked_at, _SPARE + int(_MORE * limit * n_rows / max(n_wanted, 1)))
        products[:], places[:] = -np.inf, -1
        answers = self._index.search(queries, n_looked_at)
        for query, (of_query, at) in enumerate(zip(*answers, strict=True)):
            in_mask = np.flatnonzero((at >= 0) & row_mask[at])[:limit]
            products[query, : len(in_mask)], places[query, : len(in_mask)] = (
                of_query[in_mask],
                at[in_mask],
            )
            if len(in_mask) < min(limit, n_wanted):
                products[query, -1] = of_query[-1]


class _Table(Structure):
    """Faiss's ``AlignedTable<uint8_t>``: what it allocated, how much, and how much of it is used.

    It has no other way to take codes that lie elsewhere, as its indexes of bytes have.
    """

    _fields_ = (("address", c_void_p), ("n_allocated", c_size_t), ("n_used", c_size_t))


def _lend(owner: object, index: Any, codes: NDArray[np.uint8]) -> None:
    """Have an index look at codes in a map, until its owner is gone; copy them if it cannot."""
    import faiss

    index.codes.resize(len(codes))  # memory that nobody touches takes no room
    table = _Table.from_address(int(index.codes.this))
    own_address = int(index.codes.get())
    if (table.address, table.n_used) != (own_address, len(codes)):
        faiss.copy_array_to_AlignedTable(codes, index.codes)
        return
    index.thisown = False  # at the end of the process, nobody may free what faiss has not allocated
    table.address = codes.ctypes.data

    def take_back(_mapped: object) -> None:
        table.address, index.thisown = own_address, True

    weakref.finalize(owner, take_back, codes).atexit = False


def _in_pairs(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """[n, embed_dim] to [n, embed_dim / 2], rounded up: the first of a pair in the lower bits."""
    even = np.pad(codes, ((0, 0), (0, codes.shape[1] % 2)))
    return np.bitwise_or(even[:, ::2], np.left_shift(even[:, 1::2], 4), dtype=np.uint8)

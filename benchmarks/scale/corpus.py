"""Segments around random centres, with texts, tags, dates and paths; the same in every run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Protocol

import numpy as np
from numpy.random import Generator

from benchmarks.scale.clock import Figure, Moment
from encoder.space import Calibration, Space, l2_normalize
from encoder.types import IMAGE, TEXT, Embeddings, Item, Modality
from search.store.schema import segment_id
from search.types import AssetRow, SegmentRow

SPACE = Space(
    384, {"made": "random"}, {TEXT: Calibration(0.06, 0.155), IMAGE: Calibration(0.02, 0.1)}
)
DAY_S = 86_400
FIRST_DAY = 19_000
"""In days since 1970."""
N_DAYS = 1000
TAGS = {"rare": 0.001, "tenth": 0.1, "half": 0.5}
"""The share of assets that has each."""
PHOTOS = "/data/photos/"
_PER_TEXT = 8
_IMAGES = 0.56
"""The share of segments that are pictures, each an asset of its own; all lie below `PHOTOS`."""
_PER_CENTRE = 100
_SPREAD = 0.6
_N_WORDS = 20_000
_PER_SEGMENT = 40
_ASSETS_PER_WRITE = 250
_ROWS_PER_PRODUCT = 4096


class Writable(Protocol):
    """What a corpus is written to."""

    def write(self, assets: Sequence[AssetRow], segments: Sequence[SegmentRow]) -> None:
        """See `VectorStore.write`."""


class Corpus:
    """A corpus of about ``n_segments`` segments.

    Args:
        n_segments: in all.
    """

    def __init__(self, n_segments: int) -> None:
        self.n_segments = n_segments
        self._rng = np.random.default_rng(0)
        n_centres = max(10, n_segments // _PER_CENTRE)
        self._centres = l2_normalize(_normal(self._rng, n_centres))

    def fill(self, store: Writable, server: int = 0) -> Iterator[tuple[int, Figure]]:
        """Write all; the number of segments of each write, and its times: see `Moment`."""
        rows = self._rows()
        while some := list(islice(rows, _ASSETS_PER_WRITE)):
            assets = [asset for asset, _ in some]
            segments = [row for _, of in some for row in of]
            begun = Moment(server)
            store.write(assets, segments)
            yield len(segments), begun.passed()

    def nearest_pictures(self, queries: Embeddings, n: int) -> Embeddings:
        """The exact cosines [n_queries, n] of the nearest pictures, the worst first."""
        best = np.full((len(queries), n), -1.0, np.float32)
        rows = (row.embedding for _, of in self._rows() for row in of if row.modality == IMAGE)
        while some := list(islice(rows, _ROWS_PER_PRODUCT)):
            best = np.sort(np.concatenate([best, queries @ np.stack(some).T], axis=1))[:, -n:]
        return best

    def queries(self, n: int) -> Embeddings:
        """Unit rows [n, embed_dim] near the segments."""
        rng = np.random.default_rng(1)
        return self.near(rng, n)

    def words(self, n: int) -> list[str]:
        """Queries of two words, neither rare nor found everywhere."""
        rng = np.random.default_rng(2)
        return [f"{_word(a)} {_word(b)}" for a, b in rng.integers(20, 300, (n, 2))]

    def _rows(self) -> Iterator[tuple[AssetRow, list[SegmentRow]]]:
        n_images = int(self.n_segments * _IMAGES)
        n_texts = (self.n_segments - n_images) // _PER_TEXT
        kinds = np.array([IMAGE] * n_images + [TEXT] * n_texts)
        self._rng.shuffle(kinds)
        for number, kind in enumerate(kinds):
            yield self._asset(number, Modality(str(kind)))

    def _asset(self, number: int, kind: Modality) -> tuple[AssetRow, list[SegmentRow]]:
        n = 1 if kind == IMAGE else _PER_TEXT
        asset_id = f"{number * 2_654_435_761 % 2**32:08x}{number:08x}"
        embeddings = self.near(self._rng, n)
        segments = [
            SegmentRow(
                segment_id(asset_id, kind, index, SPACE.fingerprint),
                asset_id,
                kind,
                index,
                embedding,
                snippet=self._text() if kind == TEXT else "",
            )
            for index, embedding in enumerate(embeddings)
        ]
        return self._commit_row(asset_id, number, kind, n), segments

    def _commit_row(self, asset_id: str, number: int, kind: Modality, n: int) -> AssetRow:
        day = int(self._rng.integers(N_DAYS))
        place = f"{2022 + day // 365}/{day % 12:02}/{number}"
        path = f"{PHOTOS}{place}.jpg" if kind == IMAGE else f"/data/texts/{place}.txt"
        about = {
            "title": f"{kind} {number}",
            "tags": [tag for tag, share in TAGS.items() if self._rng.random() < share],
            "language": ("en", "de", "zh")[number % 3],
            "modified": float((FIRST_DAY + day) * DAY_S),
            "width": 640 + number % 9,
        }
        media_type = "image/jpeg" if kind == IMAGE else "text/plain"
        return AssetRow(asset_id, kind, media_type, 1000 + number, n, [path], about)

    def _text(self) -> str:
        """A text with word frequencies as in Zipf's law."""
        ranks = np.minimum(self._rng.zipf(1.3, _PER_SEGMENT), _N_WORDS)
        return " ".join(map(_word, ranks))

    def near(self, rng: Generator, n: int) -> Embeddings:
        """Unit rows [n, embed_dim] around centres: neighbours have a cosine of about .7."""
        chosen = self._centres[rng.integers(len(self._centres), size=n)]
        noise = l2_normalize(_normal(rng, n))
        return l2_normalize(chosen + _SPREAD * noise)


class GivenVectors:
    """Takes the place of an encoder: the query with the text "7 …" has the seventh vector.

    Args:
        rows: unit rows [n, embed_dim].
    """

    space = SPACE

    def __init__(self, rows: Embeddings) -> None:
        self._rows = rows

    def encode_items(self, items: list[Item]) -> Embeddings:
        """See `search.query.terms.ItemEncoder`."""
        places = [int(str(item.content).split()[0]) for item in items]
        return self._rows[places]


def _normal(rng: Generator, n: int) -> Embeddings:
    return rng.standard_normal((n, SPACE.embed_dim), np.float32)


def _word(rank: int) -> str:
    """A word of letters for each rank."""
    letters = ""
    number = int(rank) + 100
    while number:
        number, letter = divmod(number, 21)
        letters += "bcdfghjklmnpqrstvwxyz"[letter] + "aeiou"[letter % 5]
    return letters

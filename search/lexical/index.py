"""BM25 over texts, in this process: Tantivy, in files of a folder.

Tantivy adds and removes documents as they come, keeps its index out of memory and finds the best
without scoring all; bm25s, SQLite's FTS5 and rank-bm25 each lack one of these.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from itertools import compress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from search.lexical.analysis import can_be_misspelt, terms, words
from search.lexical.rarity import Frequencies, phrases

if TYPE_CHECKING:
    import tantivy

_HEAP_BYTES = 15_000_000
MAX_FOUND = 1000
"""The most texts that one word search of a store returns."""


class IndexedText(NamedTuple):
    """The text of a segment; ``note`` is stored with it and returned with hits.

    ``asset_no`` is by what hits are filtered if the index has numbers; ``more_terms`` are index
    terms beside those of the text.
    """

    segment_id: str
    asset_id: str
    text: str
    note: bytes = b""
    asset_no: int = 0
    more_terms: Collection[str] = ()

    @property
    def index_terms(self) -> list[str]:
        return [*terms(self.text), *self.more_terms]


class FoundText(NamedTuple):
    """A segment that holds a word of the query, and its BM25."""

    segment_id: str
    score: float
    note: bytes


class WordIndex:
    """Finds texts by their words. Safe to use from threads; not after a fork.

    Changes become visible with the next `commit`.

    Args:
        folder: keeps the index, and can already have one; other processes write to it too, one at
            a time, see `reload`. Without a folder, it is in memory.
        has_numbers: keep `IndexedText.asset_no`.

    Raises:
        ValueError, OSError: the folder has something other than such an index.
    """

    def __init__(self, folder: Path | None = None, *, has_numbers: bool = False) -> None:
        import tantivy

        builder = tantivy.SchemaBuilder()
        builder.add_text_field(
            "segment_id", stored=True, tokenizer_name="raw", index_option="basic"
        )
        builder.add_text_field("asset_id", tokenizer_name="raw", index_option="basic")
        builder.add_bytes_field("note", stored=True)
        builder.add_text_field("words", tokenizer_name="whitespace", index_option="freq")
        if has_numbers:
            builder.add_integer_field("asset_no", fast=True)
        self._schema = builder.build()
        self._index = tantivy.Index(self._schema, path=str(folder) if folder else None)
        self._is_shared, self._has_numbers = folder is not None, has_numbers
        self._kept: tantivy.IndexWriter | None = None
        self._searcher = self._index.searcher()
        self._lock = Lock()
        self._is_changed = False

    def add(self, texts: Iterable[IndexedText]) -> None:
        """Index texts; each replaces the one of its segment, and an empty one removes it."""
        documents = [(text.segment_id, _document(text, self._has_numbers)) for text in texts]
        with self._lock:
            for segment_id, document in documents:
                self._writer.delete_documents_by_term("segment_id", segment_id)
                if document is not None:
                    self._writer.add_document(document)
                self._is_changed = True

    def remove(self, asset_ids: Iterable[str]) -> None:
        with self._lock:
            for asset_id in asset_ids:
                self._writer.delete_documents_by_term("asset_id", asset_id)
                self._is_changed = True

    def commit(self) -> None:
        """Make changes visible to searches, without blocking running ones."""
        with self._lock:
            if self._is_changed:
                try:
                    self._writer.commit()
                    if self._is_shared:  # merges end with the writer
                        self._writer.wait_merging_threads()
                finally:
                    self.release()
                self._read_again()
                self._is_changed = False

    def release(self) -> None:
        """End the writer of a shared folder, which locks it; what is not committed is lost."""
        if self._is_shared:
            self._kept = None

    def reload(self) -> None:
        """Make changes visible that another process has committed to the same folder."""
        with self._lock:
            self._read_again()

    def _read_again(self) -> None:
        self._index.reload()
        self._searcher = self._index.searcher()

    @property
    def _writer(self) -> tantivy.IndexWriter:
        if self._kept is None:
            self._kept = self._index.writer(heap_size=_HEAP_BYTES, num_threads=1)
        return self._kept

    def find(
        self,
        text: str,
        limit: int,
        asset_ids: Collection[str] | None = None,
        wanted: NDArray[np.bool_] | None = None,
        *,
        beside: WordIndex | None = None,
    ) -> list[FoundText]:
        """The segments that hold a word of ``text``, best first, ties by id.

        For a word that no text holds, here or ``beside``, those one edit away count. All that is
        found has the words in quotes. ``wanted`` says by its number which assets count, among the
        best `MAX_FOUND` texts; all that tie with the last are found.
        """
        from tantivy import Occur, Query

        searcher = self._searcher
        if limit < 1 or (asset_ids is not None and not asset_ids):
            return []
        text_terms = list(dict.fromkeys(terms(text)))
        own_terms = self.known(text_terms)
        queries = [Query.term_query(self._schema, "words", term) for term in own_terms]
        known_terms = {*own_terms, *(beside.known(text_terms) if beside else ())}
        for word in dict.fromkeys(words(text)):
            if can_be_misspelt(word) and known_terms.isdisjoint(terms(word)):
                queries += self._alike(searcher, word)
        if not queries:
            return []
        query = Query.boolean_query([(Occur.Should, of_word) for of_word in queries])
        quoted = dict.fromkeys(word for phrase in phrases(text) for word in words(phrase))
        if quoted:
            musts = [Query.term_query(self._schema, "words", word) for word in quoted]
            query = Query.boolean_query([(Occur.Must, must) for must in (query, *musts)])
        if asset_ids is not None:
            among = Query.term_set_query(self._schema, "asset_id", list(asset_ids))
            inside = Query.const_score_query(among, 0.0)
            query = Query.boolean_query([(Occur.Must, query), (Occur.Must, inside)])
        hits = searcher.search(query, limit if wanted is None else MAX_FOUND, count=False).hits
        if wanted is not None:
            numbers = searcher.fast_field_values("asset_no", [at for _, at in hits])
            is_wanted = wanted[np.minimum(np.array(numbers, np.int64), len(wanted) - 1)]
            hits = list(compress(hits, is_wanted))
            least = hits[limit - 1][0] if len(hits) > limit else 0.0
            hits = [hit for hit in hits if hit[0] >= least]
        text_hits = [_found(searcher.doc(at), score) for score, at in hits]
        return sorted(text_hits, key=lambda hit: (-hit.score, hit.segment_id))

    def _alike(self, searcher: tantivy.Searcher, word: str) -> list[tantivy.Query]:
        """One query for the texts with what a word may be a misspelling of, if there are any.

        All score as BM25 weighs a word that so many texts hold once.
        """
        from tantivy import Query

        alike = Query.fuzzy_term_query(self._schema, "words", word, distance=1)
        n_alike = searcher.search(alike, 1).count  # type: ignore[attr-defined]  # not in its stub
        if not n_alike:
            return []
        weight = math.log(1 + (searcher.num_docs - n_alike + 0.5) / (n_alike + 0.5))
        return [Query.boost_query(alike, weight)]

    def known(self, index_terms: Collection[str]) -> list[str]:
        """Those of these index terms that a text holds."""
        return [term for term in index_terms if self._searcher.doc_freq("words", term)]

    def frequencies(self, index_terms: Collection[str]) -> Frequencies:
        """How many texts hold each of these index terms."""
        searcher = self._searcher
        return Frequencies(
            searcher.num_docs, {term: searcher.doc_freq("words", term) for term in index_terms}
        )

    def notes(self, segment_ids: Sequence[str]) -> dict[str, bytes]:
        """The notes of these segments; those without words are missing."""
        from tantivy import Query

        query = Query.term_set_query(self._schema, "segment_id", list(segment_ids))
        searcher = self._searcher
        hits = searcher.search(query, 2 * len(segment_ids), count=False).hits
        text_hits = [_found(searcher.doc(at), score) for score, at in hits]
        return {text_hit.segment_id: text_hit.note for text_hit in text_hits}


def _document(text: IndexedText, has_numbers: bool) -> tantivy.Document | None:
    """The document to index; None for a text without words."""
    import tantivy

    text_terms = " ".join(text.index_terms)
    if not text_terms:
        return None
    numbers = {"asset_no": text.asset_no} if has_numbers else {}
    return tantivy.Document(
        segment_id=text.segment_id,
        asset_id=text.asset_id,
        note=text.note,
        words=text_terms,
        **numbers,
    )


def _found(document: tantivy.Document, score: float) -> FoundText:
    segment_id, note = document.get_first("segment_id"), document.get_first("note")
    return FoundText(str(segment_id), score, note or b"")

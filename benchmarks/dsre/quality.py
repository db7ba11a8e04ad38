"""What a search loses when texts are encoded sparsely; no text was used to fit anything."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.dsre.subjects import (
    Ids,
    held_out,
    open_minilm,
    shipped_gate,
    text_folder,
    tokens,
)
from benchmarks.harness.reporting import Bar, Settings, note, report
from benchmarks.harness.results_pages import table
from encoder.dsre.fitting.documents import Document
from encoder.dsre.fitting.judge import SearchOutcome, compare, search
from encoder.runtime.onnx import OnnxSession
from encoder.space import l2_normalize
from encoder.towers.text import MAX_TOKENS as TOWER_TOKENS
from encoder.towers.text import load_tokenizer
from encoder.types import Embeddings

N_QUERIES = 5000
_LOSS = Bar(at_most=0.3)
_MIN_WORDS = 6
_INTRO = """{n} texts of {least} to {most} tokens (mean {mean:.0f}) that nothing was fitted to:
documentation of SciPy and librosa, and descriptions of Debian packages (the split "test"). A title
asks for its body; a sentence, drawn from the part of the body that is encoded, asks for the whole.
Queries are short and run dense. The change of nDCG@10 is relative, with its standard error over
the queries; "margin" is what the right text's lead over the best wrong one changes, in standard
deviations."""
Embed = Callable[[Sequence[Ids]], Embeddings]


@dataclass(frozen=True, eq=False)
class Sample:
    """Texts, and the queries that they answer.

    Args:
        ids: token ids of the texts, cut.
        queries: a query for each text, by kind; empty for none.
    """

    ids: Sequence[Ids]
    queries: Mapping[str, Sequence[str]]


def int8(settings: Settings) -> None:
    """What the workers run: int8, texts cut at 256 tokens."""
    dense, sparse = map(_one_by_one, open_minilm())
    body = compare_networks(settings, text_folder(), dense, sparse, TOWER_TOKENS)
    report(settings, "Dynamic sparse inference: quality in int8", *body)


def _one_by_one(session: OnnxSession) -> Embed:
    """Unit rows [n, embed_dim]; nothing is padded."""

    def embed(texts: Sequence[Ids]) -> Embeddings:
        rows = [
            session.run({"input_ids": one[None], "mask": np.ones((1, len(one)), np.float32)})[0][0]
            for one in texts
        ]
        return l2_normalize(np.stack(rows))

    return embed


def compare_networks(
    settings: Settings, folder: Path, dense: Embed, sparse: Embed, max_tokens: int
) -> list[str]:
    """The tables: titles and sentences query a dense and a sparse index; queries run dense."""
    sample = draw(settings, folder, max_tokens)
    note(f"{len(sample.ids)} texts")
    plain, merged = dense(sample.ids), sparse(sample.ids)
    rows = []
    for kind, queries in sample.queries.items():
        note(kind)
        right = np.flatnonzero([bool(query) for query in queries])
        asked = dense(tokens(folder, [queries[i] for i in right], max_tokens))
        found = [search(asked, texts, right) for texts in (plain, merged)]
        rows.append((f"{kind} → all", *_figures(*found)))
    lengths = [len(one) for one in sample.ids]
    intro = _INTRO.format(
        n=len(lengths), least=min(lengths), most=max(lengths), mean=np.mean(lengths)
    )
    headings = ("queries", "number", "dense nDCG@10", "change", "loss, %", "margin, sd")
    return [intro, table(headings, rows)]


def draw(settings: Settings, folder: Path, max_tokens: int) -> Sample:
    """Texts long enough for the gate, drawn from all that are held out."""
    manuals, packages = held_out(settings.folder)
    documents = [*manuals, *packages]
    ids = tokens(folder, [one.body for one in documents], max_tokens)
    least = shipped_gate().settings.min_tokens
    long = [i for i, one in enumerate(ids) if len(one) >= least]
    order = np.random.default_rng(0).permutation(long)[: settings.items(N_QUERIES, 60)]
    chosen = [documents[i] for i in order]
    queries = {
        "title": [one.title for one in chosen],
        "sentence": sentences(folder, chosen, max_tokens),
    }
    return Sample([ids[i] for i in order], queries)


def sentences(folder: Path, documents: Sequence[Document], max_tokens: int) -> list[str]:
    """A sentence of each body, from the part that ``max_tokens`` leaves; empty if there is none."""
    tokenizer = load_tokenizer(folder / "tokenizer.json", max_tokens=max_tokens)
    random = np.random.default_rng(1)
    found = []
    for document in documents:
        end = max(stop for _, stop in tokenizer.encode(document.body).offsets)
        some = whole_sentences(document.body[:end])
        found.append(some[random.integers(len(some))] if some else "")
    return found


def whole_sentences(text: str) -> list[str]:
    """The sentences that a text holds from first to last word, without the short ones.

    >>> whole_sentences("One. The ferry left the harbour before dawn. And then it")
    ['The ferry left the harbour before dawn.']
    """
    pieces = (" ".join(piece.split()) for piece in re.split(r"(?<=[.!?])\s+", text))
    return [one for one in pieces if one[-1:] in ".!?" and len(one.split()) >= _MIN_WORDS]


def _figures(dense: SearchOutcome, sparse: SearchOutcome) -> tuple[object, ...]:
    loss = compare(dense, sparse)
    change = f"{-loss.ndcg:+.2%} ± {loss.error:.2%}"
    level, margin = f"{dense.ndcg.mean():.3f}", f"{-loss.margin:+.3f}"
    return loss.n_queries, level, change, _LOSS.beside(100 * loss.ndcg, ".2f"), margin

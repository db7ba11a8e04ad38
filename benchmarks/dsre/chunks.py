"""Documents beyond the window: encoded whole, by some of their windows, or by the first alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.dsre.quality import whole_sentences
from benchmarks.dsre.subjects import DENSE8, SPARSE8, batch, open_minilm, shipped_gate, text_folder
from benchmarks.harness.reporting import Bar, Settings, note, report
from benchmarks.harness.results_pages import table
from encoder.dsre.chunks import Predictor, pick, word_means
from encoder.dsre.fitting.documents import Document
from encoder.dsre.fitting.judge import Found, compare, search
from encoder.models.bundle.declaration import CHUNKS
from encoder.models.sparsity import word_vectors
from encoder.runtime.onnx import OnnxSession
from encoder.space import l2_normalize
from encoder.towers.text.tower import MAX_TOKENS, load_tokenizer
from encoder.towers.text.windows import Ids, cut, pool
from encoder.types import Embeddings
from tests.support.manuals import documented

TAUS = (0.6, 0.7, 0.75, 0.8)
_LIBRARIES = ("scipy", "librosa")
_LOSS = Bar(at_most=0.3)


def main(settings: Settings) -> None:
    """int8 with the gate, as the workers encode windows."""
    documents, ids = long_documents(settings)
    windows = [cut(one, MAX_TOKENS) for one in ids]
    note(f"{len(windows)} documents, {sum(map(len, windows))} windows")
    networks = open_minilm((DENSE8, SPARSE8))
    rows = [embed(networks[SPARSE8], some) for some in windows]
    queries = {
        "title": [one.title for one in documents],
        "sentence": [sentence(one, i) for i, one in enumerate(documents)],
    }
    asked = {kind: embed(networks[DENSE8], tokens(some)) for kind, some in queries.items()}
    table_rows = list(_rows(windows, rows, asked))
    intro = f"""{len(documents)} documents of more than two windows of {MAX_TOKENS} tokens (mean
{np.mean([len(one) for one in ids]):.0f} tokens, {np.mean([len(one) for one in windows]):.1f}
windows): documentation of {", ".join(_LIBRARIES)}, which nothing was fitted to. Title and sentence
(from anywhere in it) ask for the document, whose embedding is the mean of its windows. A window
that is not encoded takes the embedding of the one that its words promise to be nearest to. The
changes of nDCG@10 are relative to all windows, with their standard errors."""
    headings = ("encoded", "× fewer windows", "title", "title, loss in %", "sentence")
    report(settings, "Chunks of long documents", intro, table(headings, table_rows))


def long_documents(settings: Settings) -> tuple[list[Document], list[Ids]]:
    """Documents of more than two windows, and their token ids."""
    documents = documented(*_LIBRARIES)
    ids = tokens([one.body for one in documents])
    long = [i for i, one in enumerate(ids) if len(one) > 2 * MAX_TOKENS]
    long = long[: settings.items(len(long), 40)]
    return [documents[i] for i in long], [ids[i] for i in long]


def tokens(texts: Sequence[str]) -> list[Ids]:
    """All token ids of each text."""
    tokenizer = load_tokenizer(text_folder() / "tokenizer.json", max_tokens=None)
    return [np.asarray(one.ids, np.int64) for one in tokenizer.encode_batch(list(texts))]


def sentence(document: Document, seed: int) -> str:
    """One of its sentences, or its title if it has none."""
    some = [one for one in whole_sentences(document.body) if len(one.split()) <= 60]
    return some[np.random.default_rng(seed).integers(len(some))] if some else document.title


def embed(session: OnnxSession, texts: Sequence[Ids]) -> Embeddings:
    """Unit rows [n, embed_dim]; nothing is padded."""
    return l2_normalize(np.concatenate([session.run(batch([one]))[0] for one in texts]))


def _rows(
    windows: Sequence[Sequence[Ids]], rows: Sequence[Embeddings], asked: Mapping[str, Embeddings]
) -> list[list[object]]:
    predictor, words = Predictor.load(CHUNKS), word_vectors(text_folder())
    rarity = shipped_gate().rarity
    guesses = [predictor.predict(word_means(some, words, rarity)) for some in windows]
    lengths = [[len(one) for one in some] for some in windows]
    n_windows = sum(map(len, windows))
    whole = np.stack([pool(own, some) for own, some in zip(rows, lengths, strict=True)])
    first = np.stack([own[0] for own in rows])
    found = _search(whole, asked)
    levels = [f"nDCG@10 {one.ndcg.mean():.3f}" for one in found]
    told: list[list[object]] = [["all windows", "1.00", levels[0], "", levels[1]]]
    for tau in TAUS:
        picks = [pick(guess, tau) for guess in guesses]
        some = np.stack(
            [pool(own[near], n) for own, (_, near), n in zip(rows, picks, lengths, strict=True)]
        )
        saved = n_windows / sum(len(picked) for picked, _ in picks)
        told.append([f"τ {tau:g}", f"{saved:.2f}", *_changes(found, _search(some, asked))])
    saved = n_windows / len(windows)
    cut_off = _changes(found, _search(first, asked))
    return [*told, ["the first window alone, as without chunks", f"{saved:.2f}", *cut_off]]


def _search(texts: Embeddings, asked: Mapping[str, Embeddings]) -> list[Found]:
    right = np.arange(len(texts))
    return [search(queries, texts, right) for queries in asked.values()]


def _changes(whole: Sequence[Found], some: Sequence[Found]) -> list[str]:
    title, sentence = (compare(a, b) for a, b in zip(whole, some, strict=True))
    changes = [f"{-loss.ndcg:+.2%} ± {loss.error:.2%}" for loss in (title, sentence)]
    return [changes[0], _LOSS.beside(100 * title.ndcg, ".2f"), changes[1]]

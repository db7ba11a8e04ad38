"""Injection: a quoted value is one literal with that very value, to Milvus's own scanner."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from milvus_lite.search.filter import parse_expr
from milvus_lite.search.filter.tokens import TokenKind, tokenize

from encoder.space import Calibration, Space, l2_normalize
from encoder.types import IMAGE, TEXT, Embeddings
from search.filters import And, Compare, Filter, Not, Operator, Or, compile_filter
from search.filters.milvus import among, equals, quote
from search.ranking.fusion import (
    FusedQuery,
)
from search.ranking.grouping import diversify
from search.ranking.snippets import snippet

values = st.text(st.characters(exclude_categories=["Cs"]))


@given(values)
@example('"')
@example("\\")
@example('\\"')
@example('x" or asset_id != "')
@example("line\nbreak\r\t' tab")
def test_a_quoted_value_is_one_literal(value: str) -> None:
    literal, end = tokenize(quote(value))
    assert literal.kind is TokenKind.STRING
    assert literal.value == value
    assert end.kind is TokenKind.EOF


@given(values)
def test_an_equality_stays_an_equality(value: str) -> None:
    kinds = [token.kind for token in tokenize(equals("uri", value))]
    assert kinds == [TokenKind.IDENT, TokenKind.EQ, TokenKind.STRING, TokenKind.EOF]


@given(st.lists(values, min_size=1))
def test_a_list_holds_its_values(wanted: list[str]) -> None:
    tokens = tokenize(among("asset_id", wanted))
    assert [t.value for t in tokens if t.kind is TokenKind.STRING] == wanted
    assert [t.kind for t in tokens].count(TokenKind.COMMA) == len(wanted) - 1


fields = st.sampled_from(["title", "path", "modality", "tags", "metadata.k.x", "metadata.a b"])
leaves = st.one_of(
    st.builds(Compare, fields.filter(lambda f: f != "tags"), st.just(Operator.EQ), values),
    st.builds(
        Compare,
        fields.filter(lambda f: f != "tags"),
        st.just(Operator.IN),
        st.lists(values, min_size=1, max_size=3).map(tuple),
    ),
    st.builds(Compare, fields.filter(lambda f: f != "tags"), st.just(Operator.PREFIX), values),
    st.builds(Compare, fields.filter(lambda f: f != "path"), st.just(Operator.CONTAINS), values),
)
trees: st.SearchStrategy[Filter] = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: And(tuple(parts)))
        | st.lists(inner, min_size=1, max_size=3).map(lambda parts: Or(tuple(parts)))
        | inner.map(Not)
    ),
    max_leaves=8,
)


@given(trees, st.booleans())
def test_whatever_the_values_an_expression_uses_these_words_only(
    filter: Filter, infix: bool
) -> None:
    compiled = compile_filter(filter, infix=infix)
    if not compiled.expression:
        return
    parse_expr(compiled.expression)
    tokens = tokenize(compiled.expression)
    words = {token.text for token in tokens if token.kind is not TokenKind.STRING}
    functions = {"json_contains_any", "array_contains"}
    columns = {"asset_id", "modality", "metadata", "folders"}
    signs = {*"()[],", "==", "!=", "<", ">=", "and", "or", "in", "not", "like", ""}
    assert words <= functions | columns | signs


@given(st.sampled_from(["title", "modality", "metadata.k"]), values, values)
def test_another_value_changes_one_literal(field: str, value: str, other: str) -> None:
    one, two = (
        tokenize(compile_filter(Compare(field, Operator.EQ, text)).expression)
        for text in (value, other)
    )
    assert [token.kind for token in one] == [token.kind for token in two]
    differing = [(a.value, b.value) for a, b in zip(one, two, strict=True) if a.value != b.value]
    assert differing == ([] if value == other else [(value, other)])


@given(st.lists(values), values)
def test_a_prefix_is_a_range(texts: list[str], prefix: str) -> None:
    compiled = compile_filter(Compare("media_type", Operator.PREFIX, prefix)).expression
    ends = [token.value for token in tokenize(compiled) if token.kind is TokenKind.STRING]
    for text in [*texts, prefix, *(prefix + text for text in texts), "\U0010ffff" * 50]:
        is_in_range = ends[0] <= text and (len(ends) == 1 or text < ends[1])
        assert is_in_range == text.startswith(prefix)


texts = st.text(st.sampled_from("ab é海.\n"), max_size=80)


@given(texts, st.lists(texts, max_size=3), st.integers(1, 40))
def test_a_snippet_is_a_piece_of_the_text_with_its_matches(
    text: str, queries: list[str], max_chars: int
) -> None:
    found = snippet(text, queries, max_chars)
    bare = found.text.removeprefix("…").removesuffix("…")
    assert bare in text
    assert len(bare) <= max_chars
    assert (bare == text) == (found.text == text)
    ends = [0]
    for start, end in found.matches:
        assert ends[-1] <= start < end <= len(found.text)
        assert found.text[start:end].isalnum()
        ends.append(end)


@given(texts, texts, st.integers(5, 40))
def test_if_a_word_that_fits_matches_it_is_shown(text: str, query: str, max_chars: int) -> None:
    all_matches = snippet(text, [query], len(text) + 1).matches
    if any(end - start <= max_chars for start, end in all_matches):
        assert snippet(text, [query], max_chars).matches


english = st.text(st.sampled_from("abseyABSEY _-’“.\n1"), max_size=80)


@given(english, english)
def test_english_is_marked_as_if_it_stood_beside_another_language(text: str, query: str) -> None:
    alone = snippet(text, [query], 1000).matches
    assert alone == snippet(text + " ж", [query], 1000).matches


DIM = 4


@st.composite
def candidates(draw: st.DrawFn) -> tuple[list[float], Embeddings]:
    n = draw(st.integers(1, 12))
    quarters = sorted(draw(st.lists(st.integers(-12, 20), min_size=n, max_size=n)), reverse=True)
    rows = np.random.default_rng(draw(st.integers(0, 999))).normal(size=(n, DIM))
    return [quarter / 4 for quarter in quarters], l2_normalize(rows)


def by_the_book(
    scores: list[float], embeddings: Embeddings, n: int, diversity: float, chosen: list[int]
) -> list[int]:
    """The definition, a sum at a time."""
    low, high = min(scores), max(scores)
    order: list[int] = []
    while len(order) < n and len(order) + len(chosen) < len(scores):
        best, best_value = -1, -np.inf
        for i, score in enumerate(scores):
            if i in order or i in chosen:
                continue
            relevance = (score - low) / (high - low) if high > low else 0.0
            alike = max([0.0, *(float(embeddings[i] @ embeddings[j]) for j in [*chosen, *order])])
            value = (1 - diversity) * relevance - diversity * alike
            if value > best_value + 1e-9:
                best, best_value = i, value
        order.append(best)
    return order


@given(candidates(), st.integers(0, 14), st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0]), st.data())
def test_it_is_maximal_marginal_relevance(
    found: tuple[list[float], Embeddings], n: int, diversity: float, data: st.DataObject
) -> None:
    scores, embeddings = found
    chosen = data.draw(st.lists(st.sampled_from(range(len(scores))), unique=True, max_size=3))
    got = diversify(scores, embeddings, n, diversity, chosen)
    wanted = by_the_book(scores, embeddings, n, diversity, chosen)
    assert len(got) == len(wanted)
    assert len(set(got) | set(chosen)) == len(got) + len(chosen)
    if diversity not in (0.0, 1.0):  # with many near ties, rounding may choose a different one
        assert got == wanted


@given(candidates())
def test_without_diversity_the_order_stays(found: tuple[list[float], Embeddings]) -> None:
    scores, embeddings = found
    assert diversify(scores, embeddings, len(scores), 0.0) == list(range(len(scores)))


SPACE = Space(4, {}, {IMAGE: Calibration(0.2, 0.1), TEXT: Calibration(0.1, 0.2)})


QUERY = FusedQuery(np.eye(1, 4, dtype=np.float32)[0])

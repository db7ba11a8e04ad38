"""Injection: a quoted value is one literal with that very value, to Milvus's own scanner."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from milvus_lite.search.filter import parse_expr
from milvus_lite.search.filter.tokens import TokenKind, tokenize

from search.filters import And, Compare, Filter, Not, Operator, Or, compile_filter
from search.filters.milvus import among, equals, quote

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

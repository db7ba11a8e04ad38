"""Injection: a quoted value is one literal with that very value, to Milvus's own scanner."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from milvus_lite.search.filter.tokens import TokenKind, tokenize

from encoder.errors import InputError
from search.filters.expressions import among, equals, quote

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


@given(values.filter(lambda text: not text.isidentifier()))
def test_a_field_is_a_name(field: str) -> None:
    with pytest.raises(InputError, match="field"):
        equals(field, "x")


def test_no_values_are_refused() -> None:
    with pytest.raises(InputError, match="values"):
        among("asset_id", [])

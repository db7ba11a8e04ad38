"""Random filters over random assets: each store finds exactly those for which `matches` holds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from encoder.types import IMAGE, TEXT
from search.filters import And, Compare, Filter, Not, Operator, Or, matches
from search.filters.tree import FIELDS, ORDER, FieldKind, kind_of
from search.store.base import VectorStore
from search.types import AssetRow
from tests.contract.rows import segment, vectors

N_ROWS = 15
HOSTILE = [
    "",
    "a",
    "ab",
    "b",
    "5",
    "true",
    "%",
    "a%_b",
    "\\",
    '\\"',
    '"] || true || metadata["k',
    "' or asset_id != '",
    "{}[]()",
    "é\n\r\t\x00\x7f\u2028",
    "海のa",
    "\ud7ff",
    "\U0010ffff",
    "b\U0010ffff",
    "not exists",
    '["a"]',
]
KEYS = ["k", "a b", "ü", "0", "x-y", "and"]
texts = st.sampled_from(HOSTILE) | st.text(st.sampled_from('ab%_"\\é海'), max_size=3)
numbers = st.sampled_from([0, 1, -1, 1.0, 5, 5.5, -0.5, 1e-7, 2**53, -(2**53), 0.1]) | st.floats(
    -1e6, 1e6
)
scalars = texts | numbers | st.booleans()
json_values = st.recursive(
    scalars | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=2)
    ),
    max_leaves=4,
)
paths = st.lists(st.sampled_from(["data", "da", 'q"', "é", "a.png", ""]), min_size=1, max_size=4)
uris = paths.map(lambda parts: "/" + "/".join(parts)) | st.just("https://x.org/a")
metadata_fields = st.lists(st.sampled_from(KEYS), min_size=1, max_size=2).map(
    lambda keys: "metadata." + ".".join(keys)
)
fields = st.sampled_from(list(FIELDS)) | metadata_fields


@st.composite
def assets(draw: st.DrawFn, number: int) -> AssetRow:
    known = ["title", "language", "tags", "width", "duration_s", "modified", *KEYS]
    metadata = draw(st.dictionaries(st.sampled_from(known), json_values, max_size=4))
    return AssetRow(
        f"a{number:02}",
        draw(st.sampled_from([IMAGE, TEXT])),
        draw(texts),
        draw(st.integers(0, 6)),
        1,
        draw(st.lists(uris, min_size=1, max_size=3, unique=True)),
        metadata,
    )


def value_of(draw: st.DrawFn, kind: FieldKind, operator: Operator) -> Any:
    if kind is FieldKind.PATHS:
        return draw(uris | uris.map(lambda uri: uri[: len(uri) // 2]))
    if operator is Operator.PREFIX or kind in (FieldKind.TEXT, FieldKind.TEXTS):
        return draw(texts | st.sampled_from(["image", "text", "im"]))
    if kind in (FieldKind.NUMBER, FieldKind.TIME):
        return draw(numbers)
    return draw(texts | numbers if operator in ORDER else scalars)


@st.composite
def comparisons(draw: st.DrawFn) -> Compare:
    field = draw(fields)
    kind = kind_of(field)
    operators = {
        FieldKind.NUMBER: [*Operator][:8],
        FieldKind.TIME: [*Operator][:8],
        FieldKind.TEXTS: [Operator.CONTAINS],
        FieldKind.PATHS: [o for o in Operator if o not in ORDER and o is not Operator.EXISTS],
    }.get(kind, [*Operator][:10])
    operator = draw(st.sampled_from([*operators, Operator.EXISTS]))
    if operator is Operator.EXISTS:
        return Compare(field, operator, draw(st.booleans()))
    if operator in (Operator.IN, Operator.NIN):
        n_values = draw(st.integers(1, 4))
        return Compare(
            field, operator, tuple(value_of(draw, kind, operator) for _ in range(n_values))
        )
    return Compare(field, operator, value_of(draw, kind, operator))


def joined(inner: st.SearchStrategy[Filter]) -> st.SearchStrategy[Filter]:
    several = st.lists(inner, min_size=1, max_size=3).map(tuple)
    return several.map(And) | several.map(Or) | inner.map(Not)


filters: st.SearchStrategy[Filter] = st.recursive(comparisons(), joined, max_leaves=5)
corpora = st.tuples(*map(assets, range(N_ROWS)))


@pytest.mark.slow
@settings(
    max_examples=10,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking would take minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(rows=corpora, asked=st.lists(filters, min_size=12, max_size=12))
def test_a_store_selects_what_matches(
    store: VectorStore, rows: tuple[AssetRow, ...], asked: list[Filter]
) -> None:
    segments = [segment(row.asset_id, 0, vectors(1)[0], TEXT) for row in rows]
    store.write(rows, segments)  # the same ids each time, so no earlier rows are left
    stored = list(store.scan())
    for filter in asked:
        wanted = [row.asset_id for row in stored if matches(filter, row)]
        assert list(store.select(filter)) == wanted, filter
        assert store.count(filter) >= len(wanted)
        (found,) = store.search(vectors(1), TEXT, N_ROWS, filter=filter)
        assert {hit.asset_id for hit in found} >= set(wanted), filter

"""A query with strong consistency: hits, filters and stored assets include all writes so far."""

from __future__ import annotations

import pytest

from encoder.space import Space
from encoder.types import IMAGE, Item
from search import Query, SearchEngine, Term
from search.filters import Compare, Operator
from tests.contract.conftest import Opener
from tests.contract.rows import CALIBRATION, DIM, asset, segment, vectors
from tests.support.encoders import Given


@pytest.mark.slow
def test_a_strong_query_sees_what_another_just_wrote_and_deleted(open_again: Opener) -> None:
    one, other = open_again(), open_again.beside()
    engine = SearchEngine(Given(Space(DIM, {"model": "given"}, CALIBRATION)), other)

    def found(query: Query) -> list[str]:
        return [hit.asset_id for hit in engine.search(query).hits]

    for number, vector in enumerate(vectors(5)):
        name, twin = f"a{number}", f"b{number}"
        query = Query([Item(IMAGE, vector)], limit=2, consistency="strong")
        one.write(
            [asset(name, "/x"), asset(twin, "/y")],
            [segment(name, 0, vector), segment(twin, 0, vector)],
        )
        assert sorted(found(query)) == [name, twin]
        only = Query(query.items, filter=Compare("title", Operator.EQ, name), consistency="strong")
        assert found(only) == [name]
        like = Query([Term(asset_id=name)], limit=1, consistency="strong")
        assert found(like) == [twin]
        one.delete([name, twin])
        assert found(query) == []
    engine.close()

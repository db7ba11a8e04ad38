"""Filters of assets: a tree, its JSON language and its semantics. Pure.

>>> from search.filters import parse_filter
>>> parse_filter({"field": "duration_s", "gte": 5})
Compare(field='duration_s', operator=<Operator.GTE: 'gte'>, value=5)
"""

from search.filters.match import matches, may_match
from search.filters.milvus import Compiled, compile_filter
from search.filters.parse import parse_filter
from search.filters.tree import (
    And,
    Compare,
    Filter,
    Not,
    Operator,
    Or,
    Under,
    asks_for_paths,
    within,
)

__all__ = [
    "And",
    "Compare",
    "Compiled",
    "Filter",
    "Not",
    "Operator",
    "Or",
    "Under",
    "asks_for_paths",
    "compile_filter",
    "matches",
    "may_match",
    "parse_filter",
    "within",
]

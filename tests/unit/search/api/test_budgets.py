"""Values are counted alike however a body is cut into pieces."""

from __future__ import annotations

import json

import pytest

from search.api.errors import TooLargeError
from search.api.requests.budgets import check_values

BODY = json.dumps([{"a\\": ['"', "\\\\", '\\"[,', [1, 2], {}], "b": "[{,"}] * 3).encode()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(("most", "most_containers"), [(20, 13), (19, 13), (20, 12)])
def test_values_are_those_of_the_whole(size: int, most: int, most_containers: int) -> None:
    pieces = [BODY[start : start + size] for start in range(0, len(BODY), size)]
    if (most, most_containers) == (20, 13):
        check_values(pieces, most, most_containers)
        return
    with pytest.raises(TooLargeError, match="more than"):
        check_values(pieces, most, most_containers)

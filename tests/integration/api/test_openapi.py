"""The description of the API is true: whatever fits it is answered as it says."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from search.api.auth import Access
from search.api.keys import KeyRing
from search.api.services import Services
from tests.integration.api.conftest import served

# No schema can say that bytes are a picture, that a text is a filter, or that a form's field is no
# number; so what fits the schema may be refused, and a part of what does not is taken.
UNSAYABLE = [positive_data_acceptance, negative_data_rejection]


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> tuple[KeyRing, dict[str, str]]:
    """A ring, and the header of a key that may do all."""
    ring = KeyRing(tmp_path_factory.mktemp("keys") / "keys.json")
    _, token = ring.create("all", ["admin"], 1_000_000)
    return ring, {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def described(
    parts: Services, key: tuple[KeyRing, dict[str, str]]
) -> Iterator[schemathesis.BaseSchema]:
    """The description of a server that asks for keys."""
    with served(replace(parts, access=Access(key[0], required=True))) as client:
        yield schemathesis.openapi.from_url(f"{client.base_url}/openapi.json")


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_answer_is_as_described(
    described: schemathesis.BaseSchema, key: tuple[KeyRing, dict[str, str]], mode: GenerationMode
) -> None:
    """Also what does not fit is answered as it says: with an error, never with 5xx."""
    for found in described.get_all_operations():
        operation = found.ok()

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=30,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        )
        def check(case: schemathesis.Case) -> None:
            case.call_and_validate(timeout=60, headers=key[1], excluded_checks=UNSAYABLE)

        with suppress(Unsatisfiable):  # an operation without arguments knows no wrong ones
            check()


def test_every_operation_has_an_id_and_says_how_it_may_fail(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    operations = {
        (path, method): operation
        for path, methods in paths.items()
        for method, operation in methods.items()
    }
    ids = [operation["operationId"] for operation in operations.values()]
    assert len(set(ids)) == len(ids) >= 17
    for (path, _), operation in operations.items():
        if path.startswith("/v1/") and path != "/v1/session":
            assert "401" in operation["responses"], path
            assert operation["security"], path

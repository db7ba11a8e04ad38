from collections.abc import Iterator

import pytest

from encoder import registry
from encoder.errors import InputError
from encoder.registry import origin_of, register_modality, registered_modalities
from encoder.types import Modality


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    before = dict(registry._factories)
    yield
    registry._factories.clear()
    registry._factories.update(before)


def factory(model: object) -> object:
    return model


def test_a_name_is_checked_and_given_once() -> None:
    register_modality("depth", factory)  # type: ignore[arg-type]
    register_modality("depth", factory)  # type: ignore[arg-type]
    for name, message in [("text", "taken"), ("depth", "taken"), ("Depth Map", "Depth Map")]:
        with pytest.raises(InputError, match=message):
            register_modality(name, lambda model: model)  # type: ignore[arg-type,return-value]


def test_queries_may_have_a_tower_of_their_own() -> None:
    def asked(model: object) -> object:
        return model

    symmetric = register_modality("depth", factory)  # type: ignore[arg-type]
    modality = register_modality("tags", factory, queries=asked)  # type: ignore[arg-type]
    assert registered_modalities("query")[modality] is asked
    assert symmetric not in registered_modalities("query")
    assert registered_modalities()[modality] is factory


def test_who_brings_a_modality_is_known() -> None:
    modality = register_modality("depth", factory)  # type: ignore[arg-type]
    assert origin_of(modality).endswith("test_registry.factory")
    with pytest.raises(InputError, match="a registered one: depth"):
        origin_of(Modality("smell"))

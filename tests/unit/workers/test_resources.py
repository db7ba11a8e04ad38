"""What a process holds once."""

from collections.abc import Iterator

import pytest

from encoder import MultiModalEncoder
from workers import resources


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    resources.close()
    yield
    resources.close()


@pytest.mark.usefixtures("bundle_home")
@pytest.mark.parametrize(("setting", "like"), [(None, "int8"), ("int8", "int8"), ("none", None)])
def test_serving_is_in_int8_unless_the_environment_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, setting: str | None, like: str | None
) -> None:
    monkeypatch.delenv("ANYMODAL_ENCODER__QUANTIZATION", raising=False)
    wanted = MultiModalEncoder(quantization=like).space.fingerprint
    if setting:
        monkeypatch.setenv("ANYMODAL_ENCODER__QUANTIZATION", setting)

    assert resources.shared_encoder().space.fingerprint == wanted
    assert resources.shared_encoder() is resources.shared_encoder()

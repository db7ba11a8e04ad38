"""What a process holds once."""

from collections.abc import Iterator

import pytest

from encoder import MultiModalEncoder
from workers.serving import resources


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    resources.close()
    yield
    resources.close()


@pytest.mark.usefixtures("bundle_home")
@pytest.mark.parametrize(
    ("settings", "quantization", "enable_dsre"),
    [
        ({}, "int8", True),
        ({"QUANTIZATION": "int8"}, "int8", True),
        ({"QUANTIZATION": "none"}, None, True),
        ({"ENABLE_DSRE": "false"}, "int8", False),
    ],
)
def test_serving_is_fast_unless_the_environment_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, str],
    quantization: str | None,
    enable_dsre: bool,
) -> None:
    for name in ("QUANTIZATION", "ENABLE_DSRE"):
        monkeypatch.delenv(f"ANYMODAL_ENCODER__{name}", raising=False)
    wanted = MultiModalEncoder(quantization=quantization, enable_dsre=enable_dsre).space.fingerprint
    for name, value in settings.items():
        monkeypatch.setenv(f"ANYMODAL_ENCODER__{name}", value)

    assert resources.shared_encoder().space.fingerprint == wanted
    assert resources.shared_encoder() is resources.shared_encoder()


@pytest.mark.parametrize(("said", "isolate"), [(None, True), ("false", False), ("true", True)])
def test_workers_decode_in_processes_by_default(
    monkeypatch: pytest.MonkeyPatch, said: str | None, isolate: bool
) -> None:
    monkeypatch.setenv("ANYMODAL_INGEST__MAX_PIXELS", "99")
    if said:
        monkeypatch.setenv("ANYMODAL_INGEST__ISOLATE", said)
    resources.close()
    config = resources.ingest_config()
    resources.close()
    assert (config.isolate, config.max_pixels) == (isolate, 99)

"""What a process holds once."""

import pytest

from encoder import MultiModalEncoder
from workers.config import current_settings
from workers.serving.resources import Resources


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

    held = Resources(current_settings())
    assert held.encoder().space.fingerprint == wanted
    assert held.encoder() is held.encoder()


@pytest.mark.parametrize(("said", "isolate"), [(None, True), ("false", False), ("true", True)])
def test_workers_decode_in_processes_by_default(
    monkeypatch: pytest.MonkeyPatch, said: str | None, isolate: bool
) -> None:
    monkeypatch.setenv("ANYMODAL_INGEST__MAX_PIXELS", "99")
    if said:
        monkeypatch.setenv("ANYMODAL_INGEST__ISOLATE", said)
    config = Resources(current_settings()).ingest_config
    assert (config.isolate, config.max_pixels) == (isolate, 99)


@pytest.mark.usefixtures("bundle_home")
def test_kinds_of_the_environment_hold_for_what_is_ingested(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ANYMODAL_INGEST__KINDS", '["image"]')
    monkeypatch.setenv("ANYMODAL_STORE", "memory:")
    held = Resources(current_settings())
    assert held.ingest_config.kinds == ()  # queries can be of any kind
    assert held.pipeline().config.kinds == ("image",)

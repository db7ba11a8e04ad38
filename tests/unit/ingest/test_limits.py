import pytest

from encoder.errors import MediaLimitError
from ingest import IngestConfig
from ingest.limits import check

LIMITS = [name for name in IngestConfig.model_fields if name.startswith("max_")]


@pytest.mark.parametrize("limit", LIMITS)
def test_each_limit_is_named_with_its_remedy(limit: str) -> None:
    config = IngestConfig(**{limit: 7})
    check("a.mp4", limit, 7, config)
    with pytest.raises(MediaLimitError) as raised:
        check("a.mp4", limit, 12_345, config)
    message = str(raised.value)
    assert message.startswith("a.mp4 has 12,345 ")
    assert f"{limit} is 7 " in message
    assert f"ANYMODAL_INGEST__{limit.upper()}" in message


def test_limits_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYMODAL_INGEST__MAX_PIXELS", "99")
    assert IngestConfig().max_pixels == 99

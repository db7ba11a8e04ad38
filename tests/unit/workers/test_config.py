"""Settings come from the environment, and secrets from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers.broker import BrokerError, check_broker
from workers.config import Settings

URL = "redis://:sesame@127.0.0.1:1/0"


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ANYMODAL_SECRETS", str(tmp_path))
    monkeypatch.delenv("ANYMODAL_BROKER", raising=False)
    (tmp_path / "anymodal_broker").write_text(URL + "\n")
    return tmp_path


@pytest.mark.usefixtures("secrets")
def test_a_secret_file_stands_in_for_a_variable() -> None:
    assert Settings().broker == URL


@pytest.mark.usefixtures("secrets")
def test_the_environment_goes_before_a_secret_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYMODAL_BROKER", "memory://")
    assert Settings().broker == "memory://"


def test_without_the_folder_nothing_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANYMODAL_SECRETS", str(tmp_path / "none"))
    monkeypatch.delenv("ANYMODAL_BROKER", raising=False)
    assert Settings().broker == "memory://"


def test_a_broker_that_is_away_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from workers.app import app

    monkeypatch.setattr(app.conf, "broker_url", URL)
    with pytest.raises(BrokerError) as caught:
        check_broker(timeout_s=1)
    assert "127.0.0.1:1/0" in str(caught.value)
    assert "sesame" not in str(caught.value)

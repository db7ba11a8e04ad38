"""Settings come from the environment, and secrets from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers.config import Settings
from workers.jobs.broker import BrokerError, check_broker

URL = "redis://:sesame@127.0.0.1:1/0"


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ANYMODAL_SECRETS", str(tmp_path))
    monkeypatch.delenv("ANYMODAL_BROKER", raising=False)
    (tmp_path / "anymodal_broker").write_text(URL + "\n")
    return tmp_path


@pytest.mark.usefixtures("secrets")
def test_a_secret_file_replaces_a_variable() -> None:
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


@pytest.mark.parametrize(
    ("store", "read"),
    [
        ("http://milvus:19530", "http://root:pw@milvus:19530"),
        ("https://milvus:19530/next", "https://root:pw@milvus:19530/next"),
        ("http://me:mine@milvus:19530", "http://me:mine@milvus:19530"),
        ("memory:", "memory:"),
        ("./a@b", "./a@b"),
    ],
)
def test_the_login_of_a_file_is_for_a_server_whose_url_names_none(
    secrets: Path, monkeypatch: pytest.MonkeyPatch, store: str, read: str
) -> None:
    (secrets / "anymodal_store_login").write_text("root:pw\n")
    monkeypatch.setenv("ANYMODAL_STORE", store)
    assert Settings().store == read


def test_a_login_that_would_break_a_url_is_refused(
    secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (secrets / "anymodal_store_login").write_text("root:p@ss/word\n")
    monkeypatch.setenv("ANYMODAL_STORE", "http://milvus:19530")
    with pytest.raises(ValueError, match="store_login"):
        Settings()

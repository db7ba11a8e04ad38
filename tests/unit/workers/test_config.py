"""What commands and settings are called, and what they are set to."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from encoder import MultiModalEncoder
from encoder.errors import InputError, ModelError
from encoder.system.environment import READ_BY_NAME, begin
from workers.cli.bundle import bundle
from workers.cli.ingest import read_labels
from workers.cli.main import unread_variables
from workers.config import Settings, current_settings, variable_names
from workers.jobs.broker import BrokerError, check_broker
from workers.serving.resources import Resources

ANYMODAL = Path(sys.executable).with_name("anymodal")
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


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("ANYMODAL_ENCODER__N_THREADS", "abc", "'abc'"),
        ("ANYMODAL_ENCODER__N_THREADS", "0", "greater than or equal to 1"),
        ("ANYMODAL_API__SOURCES", "abc", "JSON"),
        ("ANYMODAL_INGEST__URL_HOSTS", "abc", "JSON"),
        ("ANYMODAL_LOG_FORMAT", "xml", "'text' or 'json'"),
        ("ANYMODAL_RATE_LIMIT", "often", "pattern"),
        ("ANYMODAL_STORE_LOGIN", "sesame", "that matches"),
        ("ANYMODAL_INGEST__STORAGE_OPTIONS", '["sesame"]', "JSON"),
    ],
)
def test_a_value_that_is_no_use_is_named_without_its_secret(
    variable: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    begin({})
    with pytest.raises(InputError) as caught:
        current_settings()
    assert caught.value.argument == variable
    assert said in str(caught.value)
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [
        ("ANYMODAL_STROE", "ANYMODAL_STORE"),
        ("ANYMODAL_ENCODER_MODEL", "ANYMODAL_ENCODER__MODEL"),
        ("ANYMODAL_N_THREADS", "ANYMODAL_"),
        ("ANYMODAL_QUITE_ANOTHER", "settings.md"),
        ("ANYMODAL_INGEST__MAX_FRAMES", "pass IngestConfig(max_frames=…)"),
    ],
)
def test_a_variable_that_nothing_reads_is_said(
    variable: str, nearest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list(unread_variables()) == []
    monkeypatch.setenv(variable, "x")
    Settings()  # whose constants the environment cannot set
    (sentence,) = unread_variables()
    assert variable in sentence
    assert nearest in sentence.replace(variable, "")


def test_every_variable_that_the_code_reads_is_known() -> None:
    """Also those that are read without the settings' classes."""
    read = set()
    for package in ("encoder", "ingest", "search", "workers"):
        for path in (Path(__file__).parents[3] / package).rglob("*.py"):
            read |= set(re.findall(r'"(ANYMODAL_[A-Z_]*[A-Z])"', path.read_text()))
    assert {"ANYMODAL_HOME", "ANYMODAL_KEY"} <= read
    assert read <= {*variable_names(), *READ_BY_NAME}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_the_command(shell: str) -> None:
    def completed(step: str, **words: str) -> str:
        environment = {**os.environ, "_ANYMODAL_COMPLETE": f"{shell}_{step}", **words}
        ran = subprocess.run([ANYMODAL], env=environment, capture_output=True, text=True)
        assert ran.stderr == ""
        return ran.stdout

    assert "_ANYMODAL_COMPLETE" in completed("source")
    current = {"COMP_CWORD": "sea" if shell == "fish" else "1"}
    assert "search" in completed("complete", COMP_WORDS="anymodal sea", **current)


def test_path_and_verify_name_the_folder(bundle_home: Path) -> None:
    assert CliRunner().invoke(bundle, ["path", "english"]).output.strip() == str(bundle_home)
    assert str(bundle_home) in CliRunner().invoke(bundle, ["verify", "english"]).output


def test_an_unknown_bundle_lists_the_known() -> None:
    result = CliRunner().invoke(bundle, ["fetch", "other"])

    assert isinstance(result.exception, ModelError)
    assert "bundle:english" in result.exception.remedy


def test_what_is_json_is_read_as_such_and_the_rest_is_text() -> None:
    pairs = ["n=3", "share=0.5", "ok=true", "none=null", 'list=["a", 1]', "zip=01234", "a=b=c"]
    labels = read_labels([], [*pairs, "title=2001", "odd=NaN", "empty="])
    assert labels == {
        "n": 3,
        "share": 0.5,
        "ok": True,
        "none": None,
        "list": ["a", 1],
        "zip": "01234",
        "a": "b=c",
        "title": "2001",
        "odd": "NaN",
        "empty": "",
    }


def test_tags_are_reported_once_and_an_empty_one_takes_them_away() -> None:
    assert read_labels(["sea", " night ", "sea"], []) == {"tags": ["sea", "night"]}
    assert read_labels([""], []) == {"tags": []}
    assert read_labels([], []) == {}


@pytest.mark.parametrize(
    ("pair", "why"),
    [
        ("license", "KEY=VALUE"),
        ("=x", "KEY=VALUE"),
        ("width=3", "set by the file"),
        ("look=AAAA", "set by the file"),
        ("read_by=me", "set by the file"),
        ("tags=a", "--tag"),
        ("note=" + "x" * 40_000, "32,768 bytes at most"),
    ],
)
def test_what_cannot_be_noted_is_refused(pair: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        read_labels([], [pair])


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
